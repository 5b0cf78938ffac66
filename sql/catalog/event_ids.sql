-- The key table of event ids: whether it is there, has its key, and says that it is complete.
SELECT class.oid IS NOT NULL AS there,
    EXISTS (
        SELECT FROM pg_index AS index
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = class.oid AND attribute.attnum = index.indkey[0]
        WHERE index.indrelid = class.oid AND index.indisunique AND index.indisvalid
            AND index.indpred IS NULL AND index.indnkeyatts = 1
            AND attribute.attname = 'event_id') AS key,
    coalesce(obj_description(class.oid, 'pg_class') = $3::text, false) AS complete
FROM (VALUES ($1::text, $2::text)) AS wanted (schema, name)
LEFT JOIN pg_namespace AS namespace ON namespace.nspname = wanted.schema
LEFT JOIN pg_class AS class ON class.relnamespace = namespace.oid
    AND class.relname = wanted.name AND class.relkind = 'r'
