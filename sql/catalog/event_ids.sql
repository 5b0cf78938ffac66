-- Whether the key table of event ids is there, with its key.
SELECT EXISTS (
    SELECT FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    JOIN pg_index AS index ON index.indrelid = class.oid AND index.indisprimary AND index.indisvalid
    JOIN pg_attribute AS attribute
        ON attribute.attrelid = class.oid AND attribute.attnum = index.indkey[0]
    WHERE namespace.nspname = $1::text AND class.relname::text = $2::text
        AND class.relkind = 'r' AND index.indnkeyatts = 1 AND attribute.attname = 'event_id')
