-- The partitions of the events table in schema $1 that hold rows; a table without any is one.
SELECT count(*) AS leaves
FROM pg_partition_tree(format('%I.events', $1::text)::regclass) WHERE isleaf
