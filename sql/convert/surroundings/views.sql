-- Views and rules of other relations whose queries name a table or the type of its rows, or rely on
-- its keys: they follow it when it is renamed.
WITH own AS (
    SELECT 'pg_class'::regclass AS class, $1::oid AS object
    UNION ALL
    SELECT 'pg_constraint'::regclass, con.oid FROM pg_constraint AS con WHERE con.conrelid = $1::oid
    UNION ALL
    SELECT 'pg_type'::regclass, type.oid FROM pg_class AS class
    JOIN pg_type AS type ON type.typrelid = class.oid
        OR type.oid = (SELECT typarray FROM pg_type WHERE oid = class.reltype)
    WHERE class.oid = $1::oid
), rules AS (
    SELECT depend.objid AS oid, bool_or(own.class = 'pg_constraint'::regclass) AS keyed
    FROM own JOIN pg_depend AS depend
        ON depend.refclassid = own.class AND depend.refobjid = own.object
    WHERE depend.classid = 'pg_rewrite'::regclass
    GROUP BY depend.objid
)
SELECT to_jsonb(found) FROM (
    SELECT jsonb_build_object('schema', namespace.nspname, 'name', class.relname) AS name,
        class.relkind AS kind, rule.rulename AS rule,
        CASE WHEN class.relkind = 'v' AND rule.rulename = '_RETURN'
            THEN pg_get_viewdef(class.oid) END AS definition,
        ARRAY(SELECT option FROM unnest(class.reloptions) AS option ORDER BY option) AS options,
        pg_get_userbyid(class.relowner) AS owner,
        pg_has_role(class.relowner, 'USAGE') AS owned,
        rules.keyed
    FROM rules
    JOIN pg_rewrite AS rule ON rule.oid = rules.oid
    JOIN pg_class AS class ON class.oid = rule.ev_class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE class.oid <> $1::oid
    ORDER BY namespace.nspname, class.relname, rule.rulename
) AS found
