-- The tables that reference the rows of a partition, with their columns and those of the partition.
SELECT con.conname::text AS name, namespace.nspname::text AS schema, class.relname::text AS "table",
    ARRAY(SELECT attribute.attname::text
        FROM unnest(con.conkey) WITH ORDINALITY AS key (number, position)
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = con.conrelid AND attribute.attnum = key.number
        ORDER BY key.position) AS columns,
    ARRAY(SELECT attribute.attname::text
        FROM unnest(con.confkey) WITH ORDINALITY AS key (number, position)
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = con.confrelid AND attribute.attnum = key.number
        ORDER BY key.position) AS referenced
FROM pg_constraint AS con
JOIN pg_class AS class ON class.oid = con.conrelid AND NOT class.relispartition
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE con.contype = 'f' AND con.confrelid = $1::oid
ORDER BY 2, 3, 1
