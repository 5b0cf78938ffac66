-- The tables among these that have rows, or had some.
SELECT oid FROM unnest($1::oid[]) AS oid WHERE pg_catalog.pg_relation_size(oid) > 0
