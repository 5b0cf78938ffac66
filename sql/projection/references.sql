-- Foreign keys from other tables to these.
SELECT source_space.nspname::text AS schema, source.relname::text AS name,
    reference.conname::text AS key,
    target_space.nspname::text AS to_schema, target.relname::text AS to_name
FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
JOIN pg_namespace AS target_space ON target_space.nspname = wanted.schema
JOIN pg_class AS target ON target.relnamespace = target_space.oid AND target.relname = wanted.name
JOIN pg_constraint AS reference ON reference.confrelid = target.oid AND reference.contype = 'f'
    AND reference.conparentid = 0
JOIN pg_class AS source ON source.oid = reference.conrelid
JOIN pg_namespace AS source_space ON source_space.oid = source.relnamespace
WHERE NOT EXISTS (SELECT FROM unnest($1::text[], $2::text[]) AS own (schema, name)
    WHERE own.schema = source_space.nspname AND own.name = source.relname)
ORDER BY 1, 2, 3
