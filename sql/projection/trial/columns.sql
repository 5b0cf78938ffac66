-- The columns of a table, and the place of each in its primary key.
SELECT attribute.attname::text AS name,
    array_position(index.indkey::smallint[], attribute.attnum) AS key
FROM pg_attribute AS attribute
JOIN pg_class AS class ON class.oid = attribute.attrelid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
LEFT JOIN pg_index AS index ON index.indrelid = class.oid AND index.indisprimary
WHERE namespace.nspname = $1 AND class.relname = $2
    AND attribute.attnum > 0 AND NOT attribute.attisdropped
ORDER BY attribute.attnum
