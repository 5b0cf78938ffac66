-- Who writes to the table, or has locked rows of it.
SELECT activity.pid, prepared.gid AS prepared,
    coalesce(activity.usename, prepared.owner)::text AS user,
    activity.application_name, activity.state,
    coalesce(activity.xact_start, prepared.prepared) AS since
FROM (
    SELECT DISTINCT lock.virtualtransaction, lock.pid
    FROM pg_locks AS lock
    JOIN pg_class AS class ON class.oid = lock.relation
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1 AND class.relname = $2 AND lock.granted
        AND lock.mode IN ('RowShareLock', 'RowExclusiveLock')
        AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND lock.pid IS DISTINCT FROM pg_backend_pid()
) AS holder
LEFT JOIN pg_stat_activity AS activity ON activity.pid = holder.pid
LEFT JOIN pg_locks AS number ON holder.pid IS NULL AND number.pid IS NULL
    AND number.virtualtransaction = holder.virtualtransaction
    AND number.locktype = 'transactionid'
LEFT JOIN pg_prepared_xacts AS prepared ON prepared.transaction = number.transactionid
ORDER BY activity.pid
