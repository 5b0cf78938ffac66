-- The moment before a try takes its locks. Whoever has a snapshot now and runs no statement keeps
-- it from one statement to the next.
SELECT clock_timestamp() AS at, pg_snapshot_xmin(pg_current_snapshot())::text AS xmin,
    pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8 AS clear,
    (SELECT coalesce(array_agg(activity.pid), '{}') FROM pg_stat_activity AS activity
        WHERE activity.backend_xmin IS NOT NULL
            AND starts_with(activity.state, 'idle in transaction')) AS keeping
