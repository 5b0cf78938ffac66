-- What has this name in the schema of this table, where its indexes live.
SELECT class.oid, namespace.nspname::text AS schema, owner.relname::text AS table_name,
    class.relname::text AS name, index.indexrelid IS NOT NULL AS own,
    index.indisvalid AND index.indisready AND index.indislive AS valid
FROM pg_catalog.pg_class AS owner
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = owner.relnamespace
JOIN pg_catalog.pg_class AS class
    ON class.relnamespace = owner.relnamespace AND class.relname = $2::text
LEFT JOIN pg_catalog.pg_index AS index
    ON index.indexrelid = class.oid AND index.indrelid = owner.oid
WHERE owner.oid = pg_catalog.to_regclass($1::text)
