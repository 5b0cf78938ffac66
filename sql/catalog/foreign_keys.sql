-- The tables at the other ends of foreign keys: attaching a partition locks them.
WITH ends AS (
    SELECT conrelid AS relation, confrelid AS other FROM pg_constraint WHERE contype = 'f'
    UNION
    SELECT confrelid, conrelid FROM pg_constraint WHERE contype = 'f'
)
SELECT ends.relation, namespace.nspname::text AS schema, class.relname::text AS name
FROM unnest($1::oid[]) AS wanted (oid)
JOIN ends ON ends.relation = wanted.oid
JOIN pg_class AS class ON class.oid = ends.other
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
ORDER BY 1, 2, 3
