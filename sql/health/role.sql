-- Whether the role sees what sessions of others do.
SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS sees_sessions
