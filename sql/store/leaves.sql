-- How many partitions of a table hold rows. pg_partition_tree would lock each of them.
WITH RECURSIVE tree (oid) AS (
    SELECT class.oid FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1::text AND class.relname = $2::text
    UNION ALL
    SELECT inherits.inhrelid FROM tree
    JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhparent = tree.oid
)
SELECT count(*) FROM tree JOIN pg_catalog.pg_class USING (oid) WHERE relkind <> 'p'
