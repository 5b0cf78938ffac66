-- What else depends on a table, its columns or the type of its rows, and is no part of it: columns
-- of other tables, domains, policies of other tables. What other queries list is left out.
WITH own AS (
    SELECT 'pg_class'::regclass AS class, $1::oid AS object
    UNION ALL
    SELECT 'pg_type'::regclass, type.oid FROM pg_class AS class
    JOIN pg_type AS type ON type.typrelid = class.oid
        OR type.oid = (SELECT typarray FROM pg_type WHERE oid = class.reltype)
    WHERE class.oid = $1::oid
)
SELECT DISTINCT to_jsonb(pg_describe_object(depend.classid, depend.objid, depend.objsubid)) AS what
FROM own JOIN pg_depend AS depend
    ON depend.refclassid = own.class AND depend.refobjid = own.object
WHERE depend.deptype = 'n'
    AND depend.classid NOT IN ('pg_rewrite'::regclass, 'pg_proc'::regclass,
        'pg_publication_rel'::regclass, 'pg_statistic_ext'::regclass)
    -- Parts of the table itself name its columns.
    AND NOT (depend.classid = 'pg_class'::regclass
        AND (depend.objid = $1::oid OR depend.objid IN (
            SELECT index.indexrelid FROM pg_index AS index WHERE index.indrelid = $1::oid)))
    AND NOT EXISTS (SELECT FROM pg_inherits AS inherits
        WHERE depend.classid = 'pg_class'::regclass AND inherits.inhrelid = depend.objid
            AND inherits.inhparent = $1::oid AND own.class = 'pg_class'::regclass)
    AND NOT EXISTS (SELECT FROM pg_constraint AS con
        WHERE depend.classid = 'pg_constraint'::regclass AND con.oid = depend.objid
            AND (con.conrelid = $1::oid OR con.contype = 'f'))
    AND NOT EXISTS (SELECT FROM pg_attrdef AS value
        WHERE depend.classid = 'pg_attrdef'::regclass AND value.oid = depend.objid
            AND value.adrelid = $1::oid)
    AND NOT EXISTS (SELECT FROM pg_trigger AS trigger
        WHERE depend.classid = 'pg_trigger'::regclass AND trigger.oid = depend.objid
            AND trigger.tgrelid = $1::oid)
    AND NOT EXISTS (SELECT FROM pg_policy AS policy
        WHERE depend.classid = 'pg_policy'::regclass AND policy.oid = depend.objid
            AND policy.polrelid = $1::oid)
ORDER BY 1
