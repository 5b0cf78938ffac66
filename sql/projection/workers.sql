-- How many workers of a projection are connected.
SELECT count(*) AS workers FROM pg_stat_activity
WHERE datname = current_database() AND application_name = $1
