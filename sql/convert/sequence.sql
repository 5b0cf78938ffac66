-- The sequence from which a column draws by default, and the table that owns it.
SELECT namespace.nspname::text AS schema, class.relname::text AS name
FROM pg_attribute AS attribute
JOIN pg_attrdef AS value
    ON value.adrelid = attribute.attrelid AND value.adnum = attribute.attnum
JOIN pg_depend AS depend ON depend.classid = 'pg_attrdef'::regclass AND depend.objid = value.oid
    AND depend.refclassid = 'pg_class'::regclass
JOIN pg_class AS class ON class.oid = depend.refobjid AND class.relkind = 'S'
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
JOIN pg_class AS owner ON owner.oid = attribute.attrelid
JOIN pg_namespace AS place ON place.oid = owner.relnamespace
WHERE place.nspname = $1 AND owner.relname = $2 AND attribute.attname = 'global_position'
