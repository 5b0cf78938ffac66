-- name: file_tree
-- slots: 4
-- tables: files, removed

-- The files as they are now, and how often each was removed.

-- init
CREATE TABLE IF NOT EXISTS files (
    path text PRIMARY KEY,
    kind text NOT NULL,
    blob text NOT NULL,
    mode text NOT NULL,
    version bigint NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS removed (path text PRIMARY KEY, times bigint NOT NULL);
-- handle
INSERT INTO files AS t
SELECT DISTINCT ON (aggregate_id) aggregate_id, aggregate_type, pupctl_json(payload) ->> 'blob',
    pupctl_json(payload) ->> 'mode', aggregate_version, created_at
FROM batch
ORDER BY aggregate_id, global_position DESC
ON CONFLICT (path) DO UPDATE
SET blob = excluded.blob, mode = excluded.mode, version = excluded.version,
    changed_at = excluded.changed_at;

DELETE FROM files AS t
USING (
    SELECT DISTINCT ON (aggregate_id) aggregate_id, event_type
    FROM batch ORDER BY aggregate_id, global_position DESC
) AS latest
WHERE t.path = latest.aggregate_id AND latest.event_type = 'FileDeleted';

INSERT INTO removed AS t
SELECT aggregate_id, count(*) FROM batch WHERE event_type = 'FileDeleted' GROUP BY 1
ON CONFLICT (path) DO UPDATE SET times = t.times + excluded.times;
