SELECT to_jsonb(found) FROM (
    SELECT attribute.attname AS name,
        format_type(attribute.atttypid, attribute.atttypmod) AS data_type,
        attribute.attnotnull AS not_null,
        pg_get_expr(value.adbin, value.adrelid) AS default,
        attribute.attgenerated AS generated, attribute.attidentity AS identity,
        CASE WHEN coll.oid IS NOT NULL
            THEN jsonb_build_object('schema', coll_namespace.nspname, 'name', coll.collname)
            END AS collation,
        -- Minus one until PostgreSQL 16, NULL since.
        nullif(attribute.attstattarget, -1) AS statistics,
        CASE WHEN attribute.attstorage <> type.typstorage THEN
            CASE attribute.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'
                WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END AS storage,
        CASE attribute.attcompression WHEN 'p' THEN 'PGLZ' WHEN 'l' THEN 'LZ4' END AS compression,
        coalesce(attribute.attoptions, '{}') AS options,
        col_description(attribute.attrelid, attribute.attnum) AS comment
    FROM pg_attribute AS attribute
    JOIN pg_type AS type ON type.oid = attribute.atttypid
    LEFT JOIN pg_collation AS coll
        ON coll.oid = attribute.attcollation AND coll.oid <> type.typcollation
    LEFT JOIN pg_namespace AS coll_namespace ON coll_namespace.oid = coll.collnamespace
    LEFT JOIN pg_attrdef AS value
        ON value.adrelid = attribute.attrelid AND value.adnum = attribute.attnum
    WHERE attribute.attrelid = $1::oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ORDER BY attribute.attnum
) AS found
