-- The columns of a table ($3) in two schemas, $1 the old and $2 the new one: those of both, those of
-- one of them, and those of the primary key where both have it.
WITH own AS (
    SELECT namespace.nspname = $2::text AS new, class.oid AS class, attribute.attnum AS number,
        attribute.attname::text AS name
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid AND attribute.attnum > 0
        AND NOT attribute.attisdropped
    WHERE namespace.nspname IN ($1::text, $2::text) AND class.relname = $3::text
), common AS (
    SELECT new.name, new.number, EXISTS (SELECT FROM pg_index AS index
        WHERE index.indrelid = new.class AND index.indisprimary
            AND new.number = ANY (index.indkey)) AS key
    FROM (SELECT * FROM own WHERE new) AS new
    JOIN (SELECT * FROM own WHERE NOT new) AS old ON old.name = new.name
)
SELECT EXISTS (SELECT FROM own WHERE NOT new) AS is_there,
    ARRAY(SELECT name FROM common WHERE key ORDER BY number) AS key,
    (SELECT coalesce(max(cardinality(index.indkey::int2[])), 0) FROM pg_index AS index
        WHERE index.indisprimary AND index.indrelid IN (SELECT class FROM own WHERE new)) AS key_columns,
    ARRAY(SELECT name FROM common WHERE NOT key ORDER BY number) AS columns,
    ARRAY(SELECT name FROM own WHERE NOT new AND name NOT IN (SELECT name FROM common) ORDER BY number)
        AS only_old,
    ARRAY(SELECT name FROM own WHERE new AND name NOT IN (SELECT name FROM common) ORDER BY number)
        AS only_new
