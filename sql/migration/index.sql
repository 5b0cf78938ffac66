-- An index of this name on this table, in the schema of the table, where indexes live.
SELECT index.indisvalid AND index.indisready AND index.indislive AS valid,
    namespace.nspname::text AS schema, class.relname::text AS name
FROM pg_catalog.pg_index AS index
JOIN pg_catalog.pg_class AS class ON class.oid = index.indexrelid
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE index.indrelid = pg_catalog.to_regclass($1::text) AND class.relname = $2::text
