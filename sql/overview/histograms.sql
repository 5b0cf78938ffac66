-- When the rows of tables were made, as the planner's statistics know it. Times as seconds, since
-- 'infinity' is one too.
SELECT class.oid, coalesce(stats.null_frac, 0)::float8 AS nulls,
    ARRAY(SELECT extract(epoch FROM common.at)::float8
        FROM unnest(stats.most_common_vals::text::timestamptz[]) WITH ORDINALITY AS common (at, n)
        ORDER BY common.n) AS common,
    coalesce(stats.most_common_freqs::float8[], '{}') AS frequencies,
    ARRAY(SELECT extract(epoch FROM edge.at)::float8
        FROM unnest(stats.histogram_bounds::text::timestamptz[]) WITH ORDINALITY AS edge (at, n)
        ORDER BY edge.n) AS edges
FROM unnest($1::oid[]) AS wanted (oid)
JOIN pg_class AS class ON class.oid = wanted.oid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
JOIN pg_stats AS stats ON stats.schemaname = namespace.nspname
    AND stats.tablename = class.relname AND stats.attname = 'created_at' AND NOT stats.inherited
