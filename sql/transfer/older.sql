-- Sessions of this database that may hold a snapshot from before the moment. What a role may not
-- see of others' sessions counts as old as long as their transactions of then are open. Writers
-- that wait at the table have a snapshot for the parsing of their statement, and take another one
-- when they have the lock.
SELECT activity.pid, activity.usename::text AS user, activity.application_name, activity.state,
    activity.xact_start AS since
FROM pg_stat_activity AS activity
WHERE activity.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND activity.pid <> ALL ($4::int[])
    AND activity.backend_type IS DISTINCT FROM 'autovacuum worker'
    AND CASE WHEN activity.query = '<insufficient privilege>' THEN EXISTS (
            SELECT FROM pg_locks AS lock WHERE lock.pid = activity.pid AND lock.granted
                AND lock.locktype = 'virtualxid' AND lock.virtualtransaction = ANY ($3::text[]))
        ELSE activity.backend_xmin IS NOT NULL AND activity.xact_start <= $2
            AND age(activity.backend_xmin)
                > age((mod($1::text::numeric, 4294967296))::text::xid) END
    AND NOT EXISTS (
        SELECT FROM pg_locks AS lock
        JOIN pg_class AS class ON class.oid = lock.relation
        JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
        WHERE lock.pid = activity.pid AND NOT lock.granted AND lock.locktype = 'relation'
            AND namespace.nspname = $5
            AND (lock.mode = 'RowExclusiveLock' AND class.relname = ANY ($6::text[])
                OR lock.mode = 'AccessShareLock' AND class.relname = ANY ($7::text[])
                OR lock.mode = 'AccessShareLock' AND class.relname = ANY ($8::text[])
                    AND activity.xact_start = activity.query_start
                    AND (SELECT reset_val = 'read committed' FROM pg_settings
                        WHERE name = 'default_transaction_isolation')
                    AND NOT EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) AS setting
                        WHERE setting LIKE 'default_transaction_isolation=%')))
ORDER BY activity.pid
