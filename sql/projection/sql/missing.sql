-- The tables of a schema ($1) that are not there.
SELECT wanted.name FROM unnest($2::text[]) AS wanted (name)
WHERE NOT EXISTS (
    SELECT FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1 AND class.relname = wanted.name AND class.relkind IN ('r', 'p'))
ORDER BY 1
