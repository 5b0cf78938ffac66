-- Sessions of this database that may hold a snapshot from before the moment. What a role may not
-- see of others' sessions counts as old as long as their transactions of then are open.
--
-- Who waits at the table has a snapshot for the parsing of his statement, and takes another one when
-- he has the lock: but in REPEATABLE READ it stays the one that he has. He is known by it: it is
-- older than his statement. Where the statement has begun after the try and the snapshot has not
-- been taken before it, all is well.
SELECT activity.pid, activity.usename::text AS user, activity.application_name, activity.state,
    activity.xact_start AS since, wait.waits
FROM pg_stat_activity AS activity
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM pg_locks AS lock
        JOIN pg_class AS class ON class.oid = lock.relation
        JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
        WHERE lock.pid = activity.pid AND NOT lock.granted AND lock.locktype = 'relation'
            AND namespace.nspname = $5
            AND (lock.mode = 'RowExclusiveLock' AND class.relname = ANY ($6::text[])
                OR lock.mode = 'AccessShareLock' AND class.relname = ANY ($7::text[]))) AS waits,
    -- Who waits to read what nobody can read, in a transaction of this one statement.
    activity.xact_start = activity.query_start
        AND (SELECT reset_val = 'read committed' FROM pg_settings
            WHERE name = 'default_transaction_isolation')
        AND NOT EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) AS setting
            WHERE setting LIKE 'default_transaction_isolation=%')
        AND EXISTS (
            SELECT FROM pg_locks AS lock
            JOIN pg_class AS class ON class.oid = lock.relation
            JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
            WHERE lock.pid = activity.pid AND NOT lock.granted AND lock.locktype = 'relation'
                AND namespace.nspname = $5 AND lock.mode = 'AccessShareLock'
                AND class.relname = ANY ($11::text[])) AS begins
) AS wait
WHERE activity.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND activity.pid <> ALL ($4::int[])
    AND activity.backend_type IS DISTINCT FROM 'autovacuum worker'
    AND CASE WHEN activity.query = '<insufficient privilege>'
        -- Of their transactions the oldest snapshot is seen by everybody.
        THEN NOT ((wait.waits OR coalesce(wait.begins, false))
            AND coalesce(age(activity.backend_xmin)
                <= age((mod($9::text::numeric, 4294967296))::text::xid), true))
        AND EXISTS (
            SELECT FROM pg_locks AS lock WHERE lock.pid = activity.pid AND lock.granted
                AND lock.locktype = 'virtualxid' AND lock.virtualtransaction = ANY ($3::text[]))
        ELSE activity.backend_xmin IS NOT NULL AND coalesce(activity.xact_start <= $2, true)
            AND age(activity.backend_xmin)
                > age((mod($1::text::numeric, 4294967296))::text::xid)
            AND NOT coalesce(wait.begins, false)
            AND NOT coalesce(wait.waits AND activity.query_start > $8::timestamptz
                AND CASE WHEN $9::text IS NULL
                    THEN activity.xact_start > $8 OR activity.pid <> ALL ($10::int[])
                    ELSE age(activity.backend_xmin)
                        <= age((mod($9::text::numeric, 4294967296))::text::xid) END, false) END
ORDER BY activity.pid
