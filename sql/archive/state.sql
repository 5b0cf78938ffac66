-- What has become of a table: where it is, and whether it still belongs to another.
SELECT namespace.nspname::text AS schema, class.relname::text AS name,
    inherits.inhparent IS NOT NULL AS attached,
    coalesce(inherits.inhdetachpending, false) AS pending
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
LEFT JOIN pg_inherits AS inherits ON inherits.inhrelid = class.oid
WHERE class.oid = $1
