SELECT to_jsonb(found) FROM (
    SELECT label.provider, attribute.attname AS column, label.label
    FROM pg_seclabel AS label
    LEFT JOIN pg_attribute AS attribute
        ON attribute.attrelid = label.objoid AND attribute.attnum = label.objsubid
        AND label.objsubid > 0
    WHERE label.classoid = 'pg_class'::regclass AND label.objoid = $1::oid
    ORDER BY label.provider, label.objsubid
) AS found
