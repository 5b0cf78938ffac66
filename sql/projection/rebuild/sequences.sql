-- The sequences of a schema ($2), and those that stand for them in another ($1): of the same column, or
-- of the same name.
SELECT new.relname::text AS source, coalesce(of_column.relname, of_name.relname)::text AS target
FROM pg_class AS new
LEFT JOIN pg_depend AS depend ON depend.classid = 'pg_class'::regclass AND depend.objid = new.oid
    AND depend.deptype IN ('a', 'i') AND depend.refclassid = 'pg_class'::regclass
LEFT JOIN pg_class AS new_table ON new_table.oid = depend.refobjid
LEFT JOIN pg_attribute AS new_column ON new_column.attrelid = new_table.oid
    AND new_column.attnum = depend.refobjsubid
LEFT JOIN LATERAL (
    SELECT sequence.relname FROM pg_class AS old_table
    JOIN pg_attribute AS old_column ON old_column.attrelid = old_table.oid
        AND old_column.attname = new_column.attname
    JOIN pg_depend AS other ON other.refclassid = 'pg_class'::regclass
        AND other.refobjid = old_table.oid AND other.refobjsubid = old_column.attnum
        AND other.classid = 'pg_class'::regclass AND other.deptype IN ('a', 'i')
    JOIN pg_class AS sequence ON sequence.oid = other.objid AND sequence.relkind = 'S'
    WHERE old_table.relname = new_table.relname
        AND old_table.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
    LIMIT 1
) AS of_column ON true
LEFT JOIN pg_class AS of_name ON depend.objid IS NULL AND of_name.relname = new.relname
    AND of_name.relkind = 'S'
    AND of_name.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
WHERE new.relkind = 'S' AND new.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2)
    AND coalesce(of_column.relname, of_name.relname) IS NOT NULL
ORDER BY 1
