-- For whom a session waits, whatever the lock is: a table's, or the end of a transaction.
SELECT activity.pid, activity.usename::text AS user, activity.application_name, activity.state,
    activity.xact_start AS since
FROM unnest(pg_blocking_pids($1)) AS blocking (pid)
JOIN pg_stat_activity AS activity ON activity.pid = blocking.pid
ORDER BY activity.pid
