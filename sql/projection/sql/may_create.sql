-- Whether the schema is there, and whether this role may make tables in it.
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) AS is_there,
    coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = $1), false)
        AS may_create
