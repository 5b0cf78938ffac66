-- The names of all relations of a schema: tables, indexes and sequences share one name space.
SELECT class.relname::text AS name
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = $1::text
