-- What indexes are beyond their columns. The definition begins at USING, so that those of two
-- tables can be compared; the server prints it, and locks nothing for that.
SELECT index.indexrelid AS oid,
    substr(pg_get_indexdef(index.indexrelid), length(format('CREATE %sINDEX %I ON %s%I.%I ',
        CASE WHEN index.indisunique THEN 'UNIQUE ' END, class.relname,
        CASE WHEN class.relkind = 'I' THEN 'ONLY ' END, namespace.nspname, owner.relname)) + 1)
        AS definition,
    constraints.conname::text AS constraint,
    index.indisreplident AS replica_identity
FROM unnest($1::oid[]) AS wanted (oid)
JOIN pg_index AS index ON index.indrelid = wanted.oid
JOIN pg_class AS class ON class.oid = index.indexrelid
JOIN pg_class AS owner ON owner.oid = index.indrelid
JOIN pg_namespace AS namespace ON namespace.oid = owner.relnamespace
LEFT JOIN pg_constraint AS constraints ON constraints.conindid = index.indexrelid
    AND constraints.conrelid = index.indrelid AND constraints.contype IN ('p', 'u', 'x')
