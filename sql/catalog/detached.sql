-- Tables with the comment that detaching gives them, and that are no partitions any more.
SELECT class.oid, class.relname::text AS name, description.description AS mark
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
JOIN pg_description AS description ON description.objoid = class.oid
    AND description.classoid = 'pg_class'::regclass AND description.objsubid = 0
WHERE namespace.nspname = $1::text AND class.relkind IN ('r', 'p') AND NOT class.relispartition
    AND starts_with(description.description, $2::text)
ORDER BY class.relname
