-- Which of these tables are there, and are no partitions.
SELECT class.relname::text AS name FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = $1 AND class.relname = ANY ($2::text[]) AND class.relkind = 'r'
    AND NOT class.relispartition
