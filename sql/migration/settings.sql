-- What was set for the session, in the order in which it may be set again. The role is in no view,
-- and is last, since it may not have the right to set the others.
SELECT name, current_setting(name) AS value, 1 AS place
FROM pg_catalog.pg_settings WHERE source = 'session'
UNION ALL
SELECT 'role', current_setting('role'), 2
ORDER BY 3, 1
