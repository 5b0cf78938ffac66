-- The last position that was drawn; NULL before the first (`is_called`).
SELECT pg_sequence_last_value($1::oid::regclass) AS last
