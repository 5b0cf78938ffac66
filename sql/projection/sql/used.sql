-- The columns of the batch that the statements of the probe use. All of them where something may
-- look at the batch that the server does not see through: a row that stands for itself, a function
-- or an operator that is not the system's, a view, a trigger of a table that is written.
WITH probe AS (
    SELECT oid, prosqlbody::text ~ ':varattno 0 ' AS has_rows
    FROM pg_proc WHERE oid = 'pg_temp.pupctl_probe'::regproc
), used AS (
    SELECT depend.refclassid AS class, depend.refobjid AS object, depend.refobjsubid AS part
    FROM pg_depend AS depend JOIN probe ON depend.objid = probe.oid
    WHERE depend.classid = 'pg_proc'::regclass AND depend.deptype = 'n'
), opaque AS (
    SELECT has_rows
        OR EXISTS (SELECT FROM used JOIN pg_proc ON pg_proc.oid = object
            WHERE class = 'pg_proc'::regclass AND proname <> 'pupctl_json')
        OR EXISTS (SELECT FROM used WHERE class = 'pg_operator'::regclass)
        OR EXISTS (SELECT FROM used JOIN pg_class ON pg_class.oid = object
            WHERE class = 'pg_class'::regclass AND (relkind NOT IN ('r', 'p', 'S')
                OR EXISTS (SELECT FROM pg_trigger
                    WHERE tgrelid = object AND NOT tgisinternal)
                OR EXISTS (SELECT FROM pg_rewrite WHERE ev_class = object)
                OR EXISTS (SELECT FROM pg_attrdef JOIN pg_depend AS needs
                        ON needs.classid = 'pg_attrdef'::regclass AND needs.objid = pg_attrdef.oid
                    WHERE adrelid = object AND needs.refclassid = 'pg_proc'::regclass))) AS is_opaque
    FROM probe
)
SELECT attribute.attname::text AS name, is_opaque
FROM pg_attribute AS attribute, opaque
WHERE attribute.attrelid = 'pg_temp.batch'::regclass
    AND attribute.attnum > 0 AND NOT attribute.attisdropped
    AND (is_opaque OR attribute.attname IN ('global_position', 'event_id', 'aggregate_id')
        OR EXISTS (SELECT FROM used WHERE class = 'pg_class'::regclass
            AND object = attribute.attrelid AND part = attribute.attnum))
ORDER BY attribute.attnum
