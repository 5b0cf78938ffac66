-- What an index is, without its name and its table's. Versions differ in what they call the schema
-- of a temporary table, whose name is known.
SELECT CASE WHEN index.indisunique THEN 'UNIQUE ' ELSE '' END
    || CASE WHEN class.relpersistence = 't' THEN substring(
            pg_get_indexdef(index.indexrelid) FROM ' (USING .*)')
        ELSE substr(pg_get_indexdef(index.indexrelid), length(format(
            'CREATE %sINDEX %I ON %s%I.%I ', CASE WHEN index.indisunique THEN 'UNIQUE ' END,
            class.relname, CASE WHEN class.relkind = 'I' THEN 'ONLY ' END, namespace.nspname,
            owner.relname)) + 1)
        END AS definition
FROM pg_index AS index
JOIN pg_class AS class ON class.oid = index.indexrelid
JOIN pg_class AS owner ON owner.oid = index.indrelid
JOIN pg_namespace AS namespace ON namespace.oid = owner.relnamespace
WHERE index.indexrelid = $1
