-- One worker at a time looks whether a projection has its rows, and makes them.
SELECT pg_advisory_xact_lock(hashtextextended('pupctl projection ' || $1, 0))
