-- Tables that an earlier drain took out of their parent, and had no time to drop.
SELECT class.relname::text AS name, substr(description.description, length($2) + 1) AS parent
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
JOIN pg_description AS description ON description.objoid = class.oid
    AND description.classoid = 'pg_class'::regclass AND description.objsubid = 0
WHERE namespace.nspname = $1 AND class.relkind = 'r' AND NOT class.relispartition
    AND starts_with(description.description, $2) AND pg_has_role(class.relowner, 'USAGE')
ORDER BY class.relname
