-- The tables that names mean: along the search path, else in the schema of the store. What they
-- are, and whether they are parts of others.
SELECT wanted.number, namespace.nspname::text AS schema, class.relname::text AS name,
    class.relkind IN ('r', 'p') AS is_table, class.relispartition AS is_partition
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (schema, name, number)
JOIN pg_class AS class ON class.oid = coalesce(
    to_regclass(coalesce(quote_ident(wanted.schema) || '.', '') || quote_ident(wanted.name)),
    to_regclass(quote_ident(coalesce(wanted.schema, $3::text)) || '.' || quote_ident(wanted.name)))
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
