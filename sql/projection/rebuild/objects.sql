-- What is in a schema ($1), as the word behind ALTER and DROP, the name, and for a routine the types
-- of its arguments. What moves along with something else is left out: indexes, sequences of columns,
-- the types of rows.
SELECT 'pg_class'::regclass::oid AS class, class.oid AS object,
    CASE class.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
        WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind,
    class.relname::text AS name, ARRAY[]::text[] AS arguments, class.relispartition AS partition,
    pg_has_role(class.relowner, 'USAGE') AS owned
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = $1 AND class.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    AND NOT EXISTS (SELECT FROM pg_depend AS depend
        WHERE class.relkind = 'S' AND depend.classid = 'pg_class'::regclass
            AND depend.objid = class.oid AND depend.deptype IN ('a', 'i')
            AND depend.refclassid = 'pg_class'::regclass)
UNION ALL
SELECT 'pg_proc'::regclass, routine.oid, 'ROUTINE', routine.proname,
    ARRAY(SELECT format_type(argument, NULL)
        FROM unnest(routine.proargtypes) WITH ORDINALITY AS input (argument, number)
        ORDER BY number),
    false, pg_has_role(routine.proowner, 'USAGE')
FROM pg_proc AS routine
JOIN pg_namespace AS namespace ON namespace.oid = routine.pronamespace
WHERE namespace.nspname = $1
UNION ALL
SELECT 'pg_type'::regclass, type.oid, 'TYPE', type.typname, ARRAY[]::text[], false,
    pg_has_role(type.typowner, 'USAGE')
FROM pg_type AS type
JOIN pg_namespace AS namespace ON namespace.oid = type.typnamespace
LEFT JOIN pg_class AS class ON class.oid = type.typrelid
WHERE namespace.nspname = $1
    AND (type.typtype IN ('e', 'd', 'r') OR (type.typtype = 'c' AND class.relkind = 'c'))
ORDER BY 3, 4, 5
