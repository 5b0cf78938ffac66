SELECT attribute.attrelid AS relation, attribute.attname::text AS name,
    format_type(attribute.atttypid, attribute.atttypmod) AS data_type,
    attribute.attnotnull AS not_null,
    pg_get_expr(value.adbin, value.adrelid) AS default,
    attribute.attgenerated <> '' AS generated, attribute.attidentity <> '' AS identity,
    coll.collname::text AS collation
FROM pg_attribute AS attribute
JOIN pg_type AS type ON type.oid = attribute.atttypid
LEFT JOIN pg_collation AS coll
    ON coll.oid = attribute.attcollation AND coll.oid <> type.typcollation
LEFT JOIN pg_attrdef AS value
    ON value.adrelid = attribute.attrelid AND value.adnum = attribute.attnum
WHERE attribute.attrelid = ANY ($1::oid[]) AND attribute.attnum > 0 AND NOT attribute.attisdropped
ORDER BY attribute.attrelid, attribute.attnum
