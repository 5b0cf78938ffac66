-- Versions that the head of their aggregate says are there, by another event than that of the
-- file; and events that are there, although the head says that their version is not.
SELECT event.line, move.bounded_context, move.aggregate_type, move.aggregate_id,
    event.aggregate_version, move.head, count(*) OVER () AS total
FROM pg_temp.pupctl_import_events AS event
JOIN pg_temp.pupctl_import_moves AS move USING (run)
LEFT JOIN pg_temp.pupctl_import_existing AS existing USING (line)
WHERE (event.aggregate_version <= move.head) <> (existing.line IS NOT NULL)
ORDER BY event.line LIMIT $1
