-- The replication slots of this database and of the whole server, with the log that they keep.
SELECT slot_name::text AS name, active, wal_status AS log, slot_type = 'logical' AS logical,
    pg_wal_lsn_diff(
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
        restart_lsn)::bigint AS retained
FROM pg_replication_slots
WHERE NOT temporary AND (slot_type = 'physical' OR database = current_database())
ORDER BY slot_name
