-- The state of the store's schema, and which of pupctl's own tables it has.
SELECT namespace.oid IS NOT NULL AS exists,
    CASE WHEN namespace.oid IS NULL
        THEN has_database_privilege(current_database(), 'CREATE')
        ELSE has_schema_privilege(namespace.oid, 'CREATE') END AS may_create,
    EXISTS (SELECT FROM pg_class WHERE relnamespace = namespace.oid AND relname = 'pupctl_layout') AS layout,
    EXISTS (SELECT FROM pg_class WHERE relnamespace = namespace.oid AND relname = 'pupctl_history') AS own_history,
    EXISTS (SELECT FROM pg_class WHERE relnamespace = namespace.oid AND relname = 'pupctl_schema_history') AS store_history,
    EXISTS (SELECT FROM pg_class WHERE relnamespace = namespace.oid AND relname = 'pupctl_operations') AS operations
FROM (VALUES ($1::text)) AS wanted (name)
LEFT JOIN pg_namespace AS namespace ON namespace.nspname = wanted.name
