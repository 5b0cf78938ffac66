SELECT index.indrelid AS relation, index.indexrelid AS oid, class.relname::text AS name,
    method.amname::text AS method, index.indisunique AS unique, index.indisprimary AS primary,
    index.indisvalid AND index.indisready AS valid, index.indpred IS NOT NULL AS partial,
    coalesce(class.reloptions, '{}') AS options, inherits.inhparent AS parent,
    ARRAY(
        SELECT coalesce(attribute.attname::text, '')
        FROM unnest(index.indkey) WITH ORDINALITY AS key (number, position)
        LEFT JOIN pg_attribute AS attribute
            ON attribute.attrelid = index.indrelid AND attribute.attnum = key.number
        WHERE key.position <= index.indnkeyatts
        ORDER BY key.position) AS columns
FROM unnest($1::oid[]) AS wanted (oid)
JOIN pg_index AS index ON index.indrelid = wanted.oid
JOIN pg_class AS class ON class.oid = index.indexrelid
JOIN pg_am AS method ON method.oid = class.relam
LEFT JOIN pg_inherits AS inherits ON inherits.inhrelid = index.indexrelid
ORDER BY index.indrelid, index.indexrelid
