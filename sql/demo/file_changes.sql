-- name: file_changes
-- slots: 4
-- tables: file_changes
-- init
CREATE TABLE IF NOT EXISTS file_changes (path text PRIMARY KEY, changes bigint, last_blob text);
-- handle
INSERT INTO file_changes AS file
SELECT aggregate_id, count(*),
    (array_agg(pupctl_json(payload) ->> 'blob' ORDER BY global_position DESC))[1]
FROM batch GROUP BY aggregate_id
ON CONFLICT (path) DO UPDATE
SET changes = file.changes + excluded.changes, last_blob = excluded.last_blob;
