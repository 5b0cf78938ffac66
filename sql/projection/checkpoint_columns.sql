-- Whether the table of checkpoints is there, and has the columns in which pupctl keeps its slots.
SELECT class.oid IS NOT NULL AS there, (
    SELECT count(*) = 5 FROM pg_attribute AS attribute
    WHERE attribute.attrelid = class.oid AND NOT attribute.attisdropped
        AND attribute.attname IN ('projection', 'slots', 'drain_to', 'parked', 'failed_position')
) AS ready
FROM (SELECT) AS one
LEFT JOIN (pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace)
    ON namespace.nspname = $1::text AND class.relname = $2::text AND class.relkind IN ('r', 'p')
