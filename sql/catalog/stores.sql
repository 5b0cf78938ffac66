-- The schemas that hold a store: each has its stored layout.
SELECT namespace.nspname::text AS schema
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE class.relname = 'pupctl_layout' AND class.relkind = 'r' AND class.relpersistence <> 't'
ORDER BY 1
