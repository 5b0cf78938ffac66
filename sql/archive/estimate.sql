-- The planner's estimate of a table's rows; none before the first VACUUM or ANALYZE.
SELECT CASE WHEN reltuples >= 0 THEN reltuples::bigint END AS rows FROM pg_class WHERE oid = $1
