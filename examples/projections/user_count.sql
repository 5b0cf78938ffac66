-- name: user_count
-- contexts: Identity
-- aggregates: User
-- tables: user_count

-- One row: how many users there are. The smallest read model that there can be. All workers would
-- wait for that row, so it has one slot.

-- init

CREATE TABLE IF NOT EXISTS user_count (
    id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    registered bigint NOT NULL,
    deleted bigint NOT NULL,
    active bigint GENERATED ALWAYS AS (registered - deleted) STORED
);

INSERT INTO user_count (registered, deleted) VALUES (0, 0) ON CONFLICT (id) DO NOTHING;

-- handle

UPDATE user_count AS t
SET registered = t.registered + new.registered, deleted = t.deleted + new.deleted
FROM (
    SELECT count(*) FILTER (WHERE event_type = 'UserRegistered') AS registered,
        count(*) FILTER (WHERE event_type = 'UserDeleted') AS deleted
    FROM batch
) AS new;
