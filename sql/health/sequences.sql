-- The sequences from which a table and its partitions draw positions, by default or as identity,
-- and how far they are.
WITH RECURSIVE tree AS (
    SELECT class.oid FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1::text AND class.relname = $2::text
    UNION ALL
    SELECT inherits.inhrelid FROM tree JOIN pg_inherits AS inherits ON inherits.inhparent = tree.oid
), positions AS (
    SELECT attribute.attrelid, attribute.attnum
    FROM tree
    JOIN pg_attribute AS attribute ON attribute.attrelid = tree.oid
        AND attribute.attname = 'global_position' AND NOT attribute.attisdropped
), drawn AS (
    SELECT depend.refobjid AS oid
    FROM positions
    JOIN pg_attrdef AS attrdef ON attrdef.adrelid = positions.attrelid
        AND attrdef.adnum = positions.attnum
    JOIN pg_depend AS depend ON depend.classid = 'pg_attrdef'::regclass
        AND depend.objid = attrdef.oid AND depend.refclassid = 'pg_class'::regclass
    UNION
    SELECT depend.objid
    FROM positions
    JOIN pg_depend AS depend ON depend.refclassid = 'pg_class'::regclass
        AND depend.refobjid = positions.attrelid AND depend.refobjsubid = positions.attnum
        AND depend.classid = 'pg_class'::regclass AND depend.deptype = 'i'
)
SELECT namespace.nspname::text AS schema, class.relname::text AS name,
    sequence.seqcache AS cache, sequence.seqincrement AS increment, sequence.seqcycle AS cycle,
    sequence.seqmax AS maximum,
    CASE WHEN has_sequence_privilege(sequence.seqrelid, 'SELECT, USAGE')
        THEN pg_sequence_last_value(sequence.seqrelid) END AS last,
    has_sequence_privilege(sequence.seqrelid, 'SELECT, USAGE') AS readable
FROM drawn
JOIN pg_sequence AS sequence ON sequence.seqrelid = drawn.oid
JOIN pg_class AS class ON class.oid = drawn.oid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
ORDER BY 1, 2
