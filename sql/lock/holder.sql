SELECT activity.pid, activity.usename::text AS user, activity.application_name,
    activity.client_addr::text AS address, activity.backend_start AS since
FROM pg_locks AS lock
JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 2
    AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND lock.classid::bigint = $1 AND lock.objid::bigint = $2
