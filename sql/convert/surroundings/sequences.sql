-- The sequences that columns of a table own, or from which their defaults draw.
WITH found AS (
    SELECT depend.objid AS oid, depend.refobjsubid AS number, true AS owned_by,
        depend.deptype = 'i' AS drawn, depend.deptype = 'i' AS identity
    FROM pg_depend AS depend
    WHERE depend.classid = 'pg_class'::regclass AND depend.refclassid = 'pg_class'::regclass
        AND depend.refobjid = $1::oid AND depend.refobjsubid > 0 AND depend.deptype IN ('a', 'i')
    UNION ALL
    SELECT depend.refobjid, value.adnum, false, true, false
    FROM pg_attrdef AS value
    JOIN pg_depend AS depend ON depend.classid = 'pg_attrdef'::regclass
        AND depend.objid = value.oid AND depend.refclassid = 'pg_class'::regclass
    WHERE value.adrelid = $1::oid AND value.adrelid <> depend.refobjid
)
SELECT to_jsonb(sequences) FROM (
    SELECT jsonb_build_object('schema', namespace.nspname, 'name', class.relname) AS name,
        attribute.attname AS column, bool_or(found.owned_by) AS owned_by,
        bool_or(found.drawn) AS drawn, bool_or(found.identity) AS identity,
        format_type(sequence.seqtypid, NULL) AS data_type, sequence.seqcache AS cache,
        sequence.seqincrement AS increment, sequence.seqcycle AS cycle,
        pg_has_role(class.relowner, 'USAGE') AS owned
    FROM found
    JOIN pg_class AS class ON class.oid = found.oid AND class.relkind = 'S'
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    JOIN pg_sequence AS sequence ON sequence.seqrelid = class.oid
    JOIN pg_attribute AS attribute
        ON attribute.attrelid = $1::oid AND attribute.attnum = found.number
    GROUP BY namespace.nspname, class.relname, class.relowner, attribute.attname, sequence.seqrelid,
        sequence.seqtypid, sequence.seqcache, sequence.seqincrement, sequence.seqcycle
    ORDER BY namespace.nspname, class.relname, attribute.attname
) AS sequences
