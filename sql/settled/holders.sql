-- The transactions that hold a lock on the table or a partition under which positions may have
-- been drawn. A transaction that was prepared keeps its number here, and has no process. By its name
-- too: another table may have taken the place of the one that was there first.
WITH RECURSIVE tree AS (
    SELECT class.oid FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.oid = $1::oid OR namespace.nspname = $2::text AND class.relname = $3::text
    UNION ALL
    SELECT inherits.inhrelid FROM tree JOIN pg_inherits AS inherits ON inherits.inhparent = tree.oid
)
SELECT DISTINCT lock.virtualtransaction AS holder
FROM pg_locks AS lock
JOIN tree ON tree.oid = lock.relation
WHERE lock.locktype = 'relation' AND lock.granted
    AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND lock.mode IN (
        'RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    AND lock.pid IS DISTINCT FROM pg_backend_pid()
