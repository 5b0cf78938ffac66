-- Sessions whose locks stand in the way of the locks that a step asks for.
SELECT DISTINCT ON (activity.pid) activity.pid, activity.usename::text AS user,
    activity.application_name, activity.state, activity.xact_start AS since,
    lock.mode, wanted.schema || '.' || wanted.name AS relation
FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (schema, name, conflicts)
JOIN pg_namespace AS namespace ON namespace.nspname = wanted.schema
JOIN pg_class AS class ON class.relnamespace = namespace.oid AND class.relname = wanted.name
JOIN pg_locks AS lock ON lock.locktype = 'relation' AND lock.relation = class.oid AND lock.granted
    AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND lock.mode = ANY (string_to_array(wanted.conflicts, ','))
JOIN pg_stat_activity AS activity ON activity.pid = lock.pid
WHERE activity.pid <> pg_backend_pid()
ORDER BY activity.pid
