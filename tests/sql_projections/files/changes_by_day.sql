-- name: changes_by_day
-- contexts: {{ context|ident }}
-- slots: 4
-- tables: changes_by_day
-- init
CREATE TABLE IF NOT EXISTS changes_by_day (
    day date PRIMARY KEY,
    context text NOT NULL DEFAULT {{ context }},
    changes bigint NOT NULL,
    blobs numeric NOT NULL
);
-- handle
INSERT INTO changes_by_day AS t (day, changes, blobs)
SELECT (created_at AT TIME ZONE 'UTC')::date, count(*),
    sum(('x' || (pupctl_json(payload) ->> 'blob'))::bit(48)::bigint)
FROM batch
GROUP BY 1
ORDER BY 1
ON CONFLICT (day) DO UPDATE
SET changes = t.changes + excluded.changes, blobs = t.blobs + excluded.blobs;
