SELECT attribute.attrelid AS relation, attribute.attname::text AS name,
    format_type(attribute.atttypid, attribute.atttypmod) AS data_type,
    attribute.attnotnull AS not_null,
    pg_get_expr(value.adbin, value.adrelid) AS default
FROM pg_attribute AS attribute
LEFT JOIN pg_attrdef AS value
    ON value.adrelid = attribute.attrelid AND value.adnum = attribute.attnum
WHERE attribute.attrelid = ANY ($1::oid[]) AND attribute.attnum > 0 AND NOT attribute.attisdropped
ORDER BY attribute.attrelid, attribute.attnum
