-- Everything that is known to hang on a table, as one value: it differs when somebody has made,
-- changed or dropped any of it.
WITH one AS (
    SELECT class.* FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1 AND class.relname = $2
), class_oid AS (
    SELECT class.oid FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1 AND class.relname = $2
), dependent AS (
    SELECT depend.classid, depend.objid, depend.objsubid, depend.deptype
    FROM pg_depend AS depend JOIN class_oid ON depend.refobjid = class_oid.oid
    WHERE depend.refclassid = 'pg_class'::regclass
), part AS (
    SELECT concat_ws('/', 'class', relowner, relacl, reloptions, relrowsecurity, relforcerowsecurity,
        relreplident, relchecks, relhasrules, obj_description(class_oid.oid, 'pg_class')) AS text
    FROM one, class_oid
    UNION ALL
    SELECT concat_ws('/', 'depend', classid, objid, objsubid, deptype) FROM dependent
    UNION ALL
    SELECT concat_ws('/', 'column', attname, atttypid, atttypmod, attnotnull, attacl, attoptions)
    FROM pg_attribute JOIN class_oid ON attrelid = class_oid.oid WHERE attnum > 0
    UNION ALL
    SELECT concat_ws('/', 'trigger', trigger.oid, trigger.xmin)
    FROM pg_trigger AS trigger JOIN class_oid ON tgrelid = class_oid.oid
    UNION ALL
    SELECT concat_ws('/', 'policy', policy.oid, policy.xmin)
    FROM pg_policy AS policy JOIN class_oid ON polrelid = class_oid.oid
    UNION ALL
    SELECT concat_ws('/', 'published', published.oid, published.xmin)
    FROM pg_publication_rel AS published JOIN class_oid ON prrelid = class_oid.oid
    UNION ALL
    SELECT concat_ws('/', 'rule', rule.oid, rule.xmin, view.relowner, view.reloptions)
    FROM pg_rewrite AS rule
    JOIN dependent ON dependent.classid = 'pg_rewrite'::regclass AND dependent.objid = rule.oid
    JOIN pg_class AS view ON view.oid = rule.ev_class
    UNION ALL
    SELECT concat_ws('/', 'routine', routine.oid, routine.xmin)
    FROM pg_proc AS routine
    JOIN dependent ON dependent.classid = 'pg_proc'::regclass AND dependent.objid = routine.oid
)
SELECT md5(string_agg(text, ',' ORDER BY text)) AS print FROM part
