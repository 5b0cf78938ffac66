-- name: file_count
-- slots: 4
-- tables: file_count
-- init
CREATE TABLE IF NOT EXISTS file_count (
    bounded_context text PRIMARY KEY,
    added bigint NOT NULL,
    deleted bigint NOT NULL
);
-- handle
INSERT INTO file_count AS t
SELECT bounded_context, count(*) FILTER (WHERE event_type = 'FileAdded'),
    count(*) FILTER (WHERE event_type = 'FileDeleted')
FROM batch
GROUP BY 1
-- Always in one order, for workers that wait for each other's rows.
ORDER BY 1
ON CONFLICT (bounded_context) DO UPDATE
SET added = t.added + excluded.added, deleted = t.deleted + excluded.deleted;
