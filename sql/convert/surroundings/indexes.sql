-- Indexes, with their definitions from USING on, so that those of two tables can be compared.
SELECT to_jsonb(found) FROM (
    SELECT class.relname AS name, method.amname AS method, index.indisunique AS unique,
        index.indisprimary AS primary, index.indisvalid AND index.indisready AS valid,
        index.indpred IS NOT NULL AS partial, index.indisclustered AS clustered,
        index.indisreplident AS replica_identity,
        ARRAY(
            SELECT coalesce(attribute.attname, '')
            FROM unnest(index.indkey) WITH ORDINALITY AS key (number, position)
            LEFT JOIN pg_attribute AS attribute
                ON attribute.attrelid = index.indrelid AND attribute.attnum = key.number
            WHERE key.position <= index.indnkeyatts
            ORDER BY key.position) AS columns,
        substr(pg_get_indexdef(index.indexrelid), length(format(
            'CREATE %sINDEX %I ON %s%I.%I ', CASE WHEN index.indisunique THEN 'UNIQUE ' END,
            class.relname, CASE WHEN class.relkind = 'I' THEN 'ONLY ' END, namespace.nspname,
            owner.relname)) + 1) AS definition,
        constraints.conname AS constraint,
        tablespace.spcname AS tablespace,
        obj_description(class.oid, 'pg_class') AS comment
    FROM pg_index AS index
    JOIN pg_class AS class ON class.oid = index.indexrelid
    JOIN pg_am AS method ON method.oid = class.relam
    JOIN pg_class AS owner ON owner.oid = index.indrelid
    JOIN pg_namespace AS namespace ON namespace.oid = owner.relnamespace
    LEFT JOIN pg_tablespace AS tablespace ON tablespace.oid = class.reltablespace
    LEFT JOIN pg_constraint AS constraints ON constraints.conindid = index.indexrelid
        AND constraints.conrelid = index.indrelid AND constraints.contype IN ('p', 'u', 'x')
    WHERE index.indrelid = $1::oid
    ORDER BY class.relname
) AS found
