-- The locks that this session holds on tables and indexes, apart from the server's own.
SELECT count(*) FILTER (WHERE class.relkind IN ('r', 'p')) AS tables,
    count(*) FILTER (WHERE class.relkind IN ('i', 'I')) AS indexes
FROM pg_locks AS lock
JOIN pg_class AS class ON class.oid = lock.relation
WHERE lock.pid = pg_backend_pid() AND lock.locktype = 'relation'
    AND class.relnamespace <> 'pg_catalog'::regnamespace
    AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
