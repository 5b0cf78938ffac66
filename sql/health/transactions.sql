-- The transactions of this database that are open for longer than a number of seconds, prepared
-- ones too: whether they hold a lock under which positions may have been drawn, and how many
-- transactions old the snapshot is by which they hold back VACUUM.
WITH RECURSIVE tree AS (
    SELECT class.oid FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1::text AND class.relname = $2::text
    UNION ALL
    SELECT inherits.inhrelid FROM tree JOIN pg_inherits AS inherits ON inherits.inhparent = tree.oid
), writers AS (
    SELECT DISTINCT lock.virtualtransaction, lock.pid
    FROM pg_locks AS lock
    JOIN tree ON tree.oid = lock.relation
    WHERE lock.locktype = 'relation' AND lock.granted
        AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND lock.mode IN (
            'RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
)
SELECT activity.pid, NULL::text AS prepared, activity.usename::text AS user,
    activity.application_name, activity.state, activity.xact_start AS since,
    EXISTS (SELECT FROM writers WHERE writers.pid = activity.pid) AS writes,
    age(activity.backend_xmin)::bigint AS holds_back
FROM pg_stat_activity AS activity
WHERE activity.datname = current_database() AND activity.pid <> pg_backend_pid()
    AND activity.backend_type = 'client backend'
    AND activity.xact_start <= clock_timestamp() - make_interval(secs => $3::float8)
UNION ALL
SELECT NULL, prepared.gid, prepared.owner::text, NULL, NULL, prepared.prepared,
    EXISTS (
        SELECT FROM pg_locks AS own
        JOIN writers ON writers.virtualtransaction = own.virtualtransaction
        WHERE own.locktype = 'transactionid' AND own.transactionid = prepared.transaction),
    age(prepared.transaction)::bigint
FROM pg_prepared_xacts AS prepared
WHERE prepared.database = current_database()
    AND prepared.prepared <= clock_timestamp() - make_interval(secs => $3::float8)
ORDER BY since
