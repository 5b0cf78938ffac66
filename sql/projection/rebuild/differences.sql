-- In what tables ($3) of a schema ($1) differ from those of another ($2) by their columns, in words.
WITH own AS (
    SELECT namespace.nspname = $2::text AS new, class.relname::text AS name, attribute.attname::text AS "column",
        format_type(attribute.atttypid, attribute.atttypmod) AS type, attribute.attgenerated <> '' AS generated
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid AND attribute.attnum > 0
        AND NOT attribute.attisdropped
    WHERE namespace.nspname IN ($1::text, $2::text) AND class.relname = ANY ($3::text[])
)
SELECT CASE WHEN old."column" IS NULL
            THEN format('%I lacks the column %I %s', new.name, new."column", new.type)
        WHEN new."column" IS NULL
            THEN format('%I has the column %I, which the file does not make', old.name, old."column")
        ELSE format('%I.%I is %s, and the file makes it %s', old.name, old."column", old.type, new.type)
    END
FROM (SELECT * FROM own WHERE NOT new) AS old
FULL JOIN (SELECT * FROM own WHERE new) AS new
    ON new.name = old.name AND new."column" = old."column"
WHERE new.type IS DISTINCT FROM old.type OR new.generated IS DISTINCT FROM old.generated
ORDER BY 1
