-- The columns of a table that hold what was written: generated ones are computed again.
SELECT attname::text AS name, format_type(atttypid, atttypmod) AS data_type, attnotnull AS not_null
FROM pg_attribute
WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum
