-- How far the log is written and how far it is safe, and how long a commit may wait in between:
-- one that did not wait for the disk is safe after three of these times at the latest.
SELECT pg_current_wal_flush_lsn()::text AS lsn,
    pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn() AS whole,
    (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_writer_delay') AS delay
