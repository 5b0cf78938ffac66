-- Foreign keys of other tables to a table.
SELECT to_jsonb(found) FROM (
    SELECT jsonb_build_object('schema', namespace.nspname, 'name', class.relname) AS table,
        con.conname AS name, pg_get_constraintdef(con.oid) AS definition
    FROM pg_constraint AS con
    JOIN pg_class AS class ON class.oid = con.conrelid
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE con.confrelid = $1::oid AND con.conrelid <> con.confrelid AND con.contype = 'f'
        AND con.conparentid = 0
    ORDER BY namespace.nspname, class.relname, con.conname
) AS found
