-- Constraints apart from those that make a column NOT NULL, which are constraints since
-- PostgreSQL 18 and are compared as columns.
SELECT con.conrelid AS relation, con.conname::text AS name, con.contype::text AS kind,
    con.convalidated AS valid, con.coninhcount > 0 OR con.conparentid <> 0 AS inherited,
    pg_get_constraintdef(con.oid) AS definition,
    ARRAY(
        SELECT attribute.attname::text
        FROM unnest(con.conkey) WITH ORDINALITY AS key (number, position)
        JOIN pg_attribute AS attribute
            ON attribute.attrelid = con.conrelid AND attribute.attnum = key.number
        ORDER BY key.position) AS columns,
    namespace.nspname::text AS other_schema, other.relname::text AS other
FROM pg_constraint AS con
LEFT JOIN pg_class AS other ON other.oid = con.confrelid
LEFT JOIN pg_namespace AS namespace ON namespace.oid = other.relnamespace
WHERE con.conrelid = ANY ($1::oid[]) AND con.contype NOT IN ('n', 't')
ORDER BY con.conrelid, con.conname
