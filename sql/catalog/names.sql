-- Relations that begin like a table of the store and are none of its partitions: their names
-- are taken.
SELECT class.relname::text AS name
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
LEFT JOIN unnest($3::oid[]) AS known (oid) ON known.oid = class.oid
WHERE namespace.nspname = $1::text AND class.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND known.oid IS NULL
    AND EXISTS (SELECT FROM unnest($2::text[]) AS prefix WHERE starts_with(class.relname::text, prefix))
