-- The workers of projections that are connected to this database.
SELECT pid, application_name, usename::text AS user, state, backend_start AS since
FROM pg_stat_activity
WHERE datname = current_database() AND starts_with(application_name, 'pupctl/projection ')
ORDER BY backend_start, pid
