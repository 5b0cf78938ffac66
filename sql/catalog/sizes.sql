SELECT wanted.oid, pg_table_size(wanted.oid) AS table, pg_indexes_size(wanted.oid) AS indexes
FROM unnest($1::oid[]) AS wanted (oid)
