-- What became of a partition that was to be detached, of whichever table it still is one.
SELECT inherits.inhrelid IS NULL AS gone, coalesce(inherits.inhdetachpending, false)
        AND inherits.inhparent = parent.oid AS pending,
    parent_namespace.nspname::text AS parent_schema, parent.relname::text AS parent,
    namespace.nspname::text AS schema, class.relname::text AS name
FROM pg_catalog.pg_class AS parent
JOIN pg_catalog.pg_namespace AS parent_namespace ON parent_namespace.oid = parent.relnamespace
JOIN pg_catalog.pg_class AS class ON class.oid = pg_catalog.to_regclass($2::text)
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
LEFT JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhrelid = class.oid
WHERE parent.oid = pg_catalog.to_regclass($1::text)
