-- How far the slowest standby is behind, in bytes of the log; NULL where there is none.
SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(replay_lsn, sent_lsn)))::bigint AS bytes
FROM pg_stat_replication
