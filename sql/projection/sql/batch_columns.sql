SELECT attribute.attname::text
FROM pg_attribute AS attribute
WHERE attribute.attrelid = 'pg_temp.batch'::regclass
    AND attribute.attnum > 0 AND NOT attribute.attisdropped
ORDER BY attribute.attnum
