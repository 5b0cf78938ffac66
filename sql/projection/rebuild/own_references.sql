-- Which tables of a schema ($1) refer to which others of it.
SELECT source.relname::text AS source, target.relname::text AS target
FROM pg_constraint AS reference
JOIN pg_class AS source ON source.oid = reference.conrelid
JOIN pg_class AS target ON target.oid = reference.confrelid
WHERE reference.contype = 'f' AND source.oid <> target.oid
    AND source.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
    AND target.relnamespace = source.relnamespace
ORDER BY 1, 2
