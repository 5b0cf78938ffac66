-- The logical slots of this database that have not confirmed what was written up to here.
SELECT slot_name::text AS name, active, wal_status AS log,
    confirmed_flush_lsn::text AS confirmed,
    pg_wal_lsn_diff($1::text::pg_lsn, confirmed_flush_lsn)::bigint AS behind
FROM pg_replication_slots
WHERE slot_type = 'logical' AND database = current_database()
    AND confirmed_flush_lsn < $1::text::pg_lsn
ORDER BY slot_name
