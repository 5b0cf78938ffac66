-- Event ids that the file has more than once.
SELECT event_id::text AS event_id, min(line) AS first, max(line) AS last
FROM pg_temp.pupctl_import_events
GROUP BY event_id HAVING count(*) > 1
ORDER BY last LIMIT $1
