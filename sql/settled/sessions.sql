-- Whose transactions these are. A prepared one is known by the lock on its own number.
SELECT DISTINCT ON (lock.virtualtransaction) lock.pid, prepared.gid AS prepared,
    coalesce(prepared.owner, activity.usename)::text AS user,
    activity.application_name, activity.state,
    coalesce(prepared.prepared, activity.xact_start) AS since
FROM pg_locks AS lock
LEFT JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
LEFT JOIN pg_prepared_xacts AS prepared ON lock.pid IS NULL
    AND lock.locktype = 'transactionid' AND prepared.transaction = lock.transactionid
WHERE lock.granted AND lock.virtualtransaction = ANY ($1::text[])
ORDER BY lock.virtualtransaction, prepared.gid NULLS LAST
