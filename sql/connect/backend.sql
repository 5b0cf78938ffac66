-- Which server process serves this session. A process id is used again, also by another server
-- of the same name, so the start of the session goes with it.
SELECT activity.pid, activity.backend_start
FROM pg_catalog.pg_stat_activity AS activity
WHERE activity.pid = pg_catalog.pg_backend_pid()
