-- Publications that take up tables as they are made: the copies would be sent as new events.
SELECT DISTINCT pubname::text AS name FROM pg_publication_tables
WHERE schemaname = $1 AND tablename = 'pupctl_operations' ORDER BY 1
