-- The columns of a table ($1, $2) that take values, in order.
SELECT coalesce(array_agg(attribute.attname::text ORDER BY attribute.attnum), ARRAY[]::text[])
    AS columns
FROM pg_attribute AS attribute
JOIN pg_class AS class ON class.oid = attribute.attrelid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = $1 AND class.relname = $2 AND attribute.attnum > 0
    AND NOT attribute.attisdropped AND attribute.attgenerated = ''
