-- Constraints apart from those of triggers, and from NOT NULL, which are compared as columns unless
-- rows may break them (since PostgreSQL 18). What pupctl itself adds for a while has its name in front.
SELECT to_jsonb(found) FROM (
    SELECT con.conname AS name, con.contype AS kind,
        ARRAY(
            SELECT attribute.attname
            FROM unnest(con.conkey) WITH ORDINALITY AS key (number, position)
            JOIN pg_attribute AS attribute
                ON attribute.attrelid = con.conrelid AND attribute.attnum = key.number
            ORDER BY key.position) AS columns,
        pg_get_constraintdef(con.oid) AS definition,
        con.convalidated AS valid,
        -- Since PostgreSQL 18.
        coalesce((to_jsonb(con) ->> 'conenforced')::boolean, true) AS enforced,
        con.connoinherit AS no_inherit,
        CASE WHEN con.confrelid <> 0
            THEN jsonb_build_object('schema', namespace.nspname, 'name', other.relname)
            END AS references,
        obj_description(con.oid, 'pg_constraint') AS comment
    FROM pg_constraint AS con
    LEFT JOIN pg_class AS other ON other.oid = con.confrelid
    LEFT JOIN pg_namespace AS namespace ON namespace.oid = other.relnamespace
    WHERE con.conrelid = $1::oid
        AND (con.contype IN ('c', 'f', 'p', 'u', 'x') OR (con.contype = 'n' AND NOT con.convalidated))
        AND con.conparentid = 0 AND NOT starts_with(con.conname, 'pupctl_')
    ORDER BY con.conname
) AS found
