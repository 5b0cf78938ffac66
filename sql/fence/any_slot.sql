-- Whether there are logical slots of this database, apart from these.
SELECT EXISTS (SELECT FROM pg_replication_slots
    WHERE slot_type = 'logical' AND database = current_database()
        AND NOT slot_name::text = ANY ($1)) AS there
