-- name: file_history
-- slots: 4
-- tables: file_sizes, file_history

-- Every change with a running balance, as that of a wallet: what the blob adds, or takes away again.

-- init
CREATE TABLE IF NOT EXISTS file_sizes (
    path text PRIMARY KEY,
    balance bigint NOT NULL,
    last_blob text
);
CREATE TABLE IF NOT EXISTS file_history (
    path text NOT NULL,
    version bigint NOT NULL,
    amount bigint NOT NULL,
    balance bigint NOT NULL,
    PRIMARY KEY (path, version)
);
-- handle
INSERT INTO file_history
SELECT change.path, change.version, change.amount,
    coalesce(before.balance, 0)
        + sum(change.amount) OVER (PARTITION BY change.path ORDER BY change.version)
FROM (
    SELECT aggregate_id AS path, aggregate_version AS version,
        CASE event_type WHEN 'FileDeleted' THEN -1 ELSE 1 END
            * ('x' || left(pupctl_json(payload) ->> 'blob', 4))::bit(16)::integer AS amount
    FROM batch
) AS change
LEFT JOIN file_sizes AS before ON before.path = change.path;

INSERT INTO file_sizes AS t
SELECT DISTINCT ON (path) line.path, line.balance, pupctl_json(batch.payload) ->> 'blob'
FROM batch JOIN file_history AS line
    ON line.path = batch.aggregate_id AND line.version = batch.aggregate_version
ORDER BY line.path, line.version DESC
ON CONFLICT (path) DO UPDATE SET balance = excluded.balance, last_blob = excluded.last_blob;
