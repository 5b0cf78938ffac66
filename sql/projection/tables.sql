-- What is there by the names of a read model, and whether it is a part of another table.
SELECT wanted.schema, wanted.name, class.relkind IN ('r', 'p') AS is_table,
    class.relispartition AS is_partition
FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
JOIN pg_namespace AS namespace ON namespace.nspname = wanted.schema
JOIN pg_class AS class ON class.relnamespace = namespace.oid AND class.relname = wanted.name
