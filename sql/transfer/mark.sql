-- A moment: whoever takes a snapshot after it sees all that was committed before it.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS xmax, clock_timestamp() AS at,
    (SELECT coalesce(array_agg(virtualtransaction), '{}') FROM pg_locks
        WHERE locktype = 'virtualxid' AND granted) AS open
