-- What depends on objects ($1, $2) and is not a part of them: it would be lost with them.
WITH RECURSIVE own AS (
    SELECT class, object FROM unnest($1::oid[], $2::oid[]) AS own (class, object)
    UNION
    -- Indexes, constraints, defaults, triggers, the types of rows, the rules of views, partitions.
    SELECT depend.classid, depend.objid
    FROM own JOIN pg_depend AS depend
        ON depend.refclassid = own.class AND depend.refobjid = own.object
    WHERE depend.deptype IN ('a', 'i', 'P', 'S')
)
SELECT DISTINCT coalesce(
    -- A view, instead of its rule.
    (SELECT pg_describe_object('pg_class'::regclass, rule.ev_class, 0) FROM pg_rewrite AS rule
        WHERE depend.classid = 'pg_rewrite'::regclass AND rule.oid = depend.objid),
    pg_describe_object(depend.classid, depend.objid, depend.objsubid)) AS dependent,
    pg_describe_object(depend.refclassid, depend.refobjid, 0) AS whose
FROM own JOIN pg_depend AS depend
    ON depend.refclassid = own.class AND depend.refobjid = own.object
WHERE depend.deptype = 'n'
    AND NOT EXISTS (SELECT FROM own AS part
        WHERE part.class = depend.classid AND part.object = depend.objid)
ORDER BY 1, 2
