-- Event ids that the file has more than once, among $2 or all.
SELECT event_id::text AS event_id, min(line) AS first, max(line) AS last
FROM pg_temp.pupctl_import_events
WHERE $2::text[] IS NULL OR event_id = ANY ($2::text[]::uuid[])
GROUP BY event_id HAVING count(*) > 1
ORDER BY last LIMIT $1
