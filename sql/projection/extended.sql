-- Whether there are checkpoints, whether they have the columns of slots, and whether the tables beside
-- them are there.
SELECT count(attribute.attname) FILTER (WHERE attribute.attname IN ('projection', 'slot', 'slots',
        'slot_hash', 'epoch', 'bounded_contexts', 'aggregate_types', 'read_model', 'paused_at',
        'drain_to', 'parked', 'replay_at', 'worker', 'events_handled', 'events_per_second',
        'last_error', 'failed_at', 'failed_position')) = 18 AS extended,
    (SELECT count(*) FROM pg_class AS beside
        WHERE beside.relnamespace = class.relnamespace AND beside.relname = ANY ($3)) = 2 AS audited
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
LEFT JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid
    AND attribute.attnum > 0 AND NOT attribute.attisdropped
WHERE namespace.nspname = $1 AND class.relname = $2
GROUP BY class.oid
