-- Functions and procedures whose bodies were read by the server (BEGIN ATOMIC) and name a table, or
-- which take or give its rows. Other bodies are texts that are read anew.
WITH own AS (
    SELECT 'pg_class'::regclass AS class, $1::oid AS object
    UNION ALL
    SELECT 'pg_constraint'::regclass, con.oid FROM pg_constraint AS con WHERE con.conrelid = $1::oid
    UNION ALL
    SELECT 'pg_type'::regclass, type.oid FROM pg_class AS class
    JOIN pg_type AS type ON type.typrelid = class.oid
        OR type.oid = (SELECT typarray FROM pg_type WHERE oid = class.reltype)
    WHERE class.oid = $1::oid
), users AS (
    SELECT depend.objid AS oid, bool_or(own.class = 'pg_constraint'::regclass) AS keyed
    FROM own JOIN pg_depend AS depend
        ON depend.refclassid = own.class AND depend.refobjid = own.object
    WHERE depend.classid = 'pg_proc'::regclass
    GROUP BY depend.objid
)
SELECT to_jsonb(found) FROM (
    SELECT users.oid::regprocedure::text AS signature, routine.prokind = 'p' AS procedure,
        routine.prokind = 'a' AS aggregate,
        CASE WHEN routine.prosqlbody IS NOT NULL THEN pg_get_functiondef(users.oid) END AS definition,
        EXISTS (
            SELECT FROM own
            WHERE own.class = 'pg_type'::regclass AND (own.object = routine.prorettype
                OR own.object = ANY (coalesce(routine.proallargtypes, routine.proargtypes::oid[])))
        ) AS of_rows,
        users.keyed,
        pg_get_userbyid(routine.proowner) AS owner,
        pg_has_role(routine.proowner, 'USAGE') AS owned
    FROM users JOIN pg_proc AS routine ON routine.oid = users.oid
    ORDER BY 1
) AS found
