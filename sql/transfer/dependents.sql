-- What others made on a table, and would lose or keep from its drop: foreign keys to it, and views.
SELECT 'the foreign key ' || con.conname || ' of ' || con.conrelid::regclass AS what
FROM pg_constraint AS con
JOIN pg_class AS class ON class.oid = con.confrelid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = $1 AND class.relname = $2 AND con.contype = 'f' AND con.conrelid <> class.oid
UNION
SELECT 'the view ' || rewrite.ev_class::regclass
FROM pg_depend AS depend
JOIN pg_rewrite AS rewrite ON rewrite.oid = depend.objid
JOIN pg_class AS class ON class.oid = depend.refobjid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE depend.classid = 'pg_rewrite'::regclass AND depend.refclassid = 'pg_class'::regclass
    AND namespace.nspname = $1 AND class.relname = $2 AND rewrite.ev_class <> class.oid
ORDER BY 1
