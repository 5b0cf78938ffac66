-- What would stop the DROP of a table: views, foreign keys of other tables, functions and columns
-- that use its type. What belongs to the table goes with it, and is not told.
SELECT DISTINCT CASE WHEN rule.oid IS NULL
        THEN pg_describe_object(depend.classid, depend.objid, depend.objsubid)
        ELSE pg_describe_object('pg_class'::regclass, rule.ev_class, 0) END AS words
FROM pg_class AS class
LEFT JOIN pg_type AS type ON type.oid = class.reltype
JOIN pg_depend AS depend ON depend.deptype = 'n'
    AND (depend.refclassid = 'pg_class'::regclass AND depend.refobjid = class.oid
        OR depend.refclassid = 'pg_type'::regclass
            AND depend.refobjid IN (class.reltype, type.typarray))
LEFT JOIN pg_rewrite AS rule
    ON depend.classid = 'pg_rewrite'::regclass AND rule.oid = depend.objid
LEFT JOIN pg_constraint AS con
    ON depend.classid = 'pg_constraint'::regclass AND con.oid = depend.objid
WHERE class.oid = $1
    AND rule.ev_class IS DISTINCT FROM class.oid
    AND con.conrelid IS DISTINCT FROM class.oid
    -- The part of a foreign key to the whole table that the detach takes away.
    AND coalesce(con.conparentid, 0) = 0
    AND NOT EXISTS (SELECT FROM pg_attrdef AS own WHERE own.adrelid = class.oid
        AND depend.classid = 'pg_attrdef'::regclass AND own.oid = depend.objid)
    AND NOT EXISTS (SELECT FROM pg_trigger AS own WHERE own.tgrelid = class.oid
        AND depend.classid = 'pg_trigger'::regclass AND own.oid = depend.objid)
    AND NOT EXISTS (SELECT FROM pg_policy AS own WHERE own.polrelid = class.oid
        AND depend.classid = 'pg_policy'::regclass AND own.oid = depend.objid)
ORDER BY words
