-- The workers that are connected, by what they call themselves.
SELECT pid FROM pg_stat_activity
WHERE application_name = $1 AND datname = current_database()
ORDER BY pid
