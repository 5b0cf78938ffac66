-- The transactions that hold any lock on a table; one that is prepared has no process.
SELECT DISTINCT ON (lock.virtualtransaction) lock.virtualtransaction AS id, lock.pid,
    activity.usename::text AS user, activity.application_name, activity.state,
    activity.xact_start AS since,
    extract(epoch FROM clock_timestamp() - activity.xact_start)::float8 AS seconds
FROM pg_locks AS lock
LEFT JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
WHERE lock.locktype = 'relation' AND lock.relation = $1::oid AND lock.granted
    AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND lock.pid IS DISTINCT FROM pg_backend_pid()
ORDER BY lock.virtualtransaction
