-- How far the slowest standby is behind, in bytes of the log; NULL where there is none. What a role
-- may not see of a standby is NULL too.
SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(replay_lsn, sent_lsn)))::bigint AS bytes,
    count(*) FILTER (WHERE state IS NULL) AS hidden
FROM pg_stat_replication
