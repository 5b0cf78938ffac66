-- How many rows were inserted into these tables since the statistics of the database were reset,
-- or, where they never were, since the server was started.
SELECT coalesce(sum(pg_stat_get_tuples_inserted(oid)), 0)::bigint AS inserted,
    coalesce(
        (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()),
        pg_postmaster_start_time()) AS since,
    clock_timestamp() AS now
FROM unnest($1::oid[]) AS oid
