SELECT class.relname::text AS name
FROM pg_index AS index
JOIN pg_class AS class ON class.oid = index.indexrelid
JOIN pg_class AS owner ON owner.oid = index.indrelid
JOIN pg_namespace AS namespace ON namespace.oid = owner.relnamespace
WHERE namespace.nspname = $1 AND owner.relname = ANY ($2::text[])
ORDER BY 1
