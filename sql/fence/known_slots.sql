-- Which of these slots there are.
SELECT slot_name::text AS name FROM pg_replication_slots WHERE slot_name::text = ANY ($1)
