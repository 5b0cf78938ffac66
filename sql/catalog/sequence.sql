-- The sequence behind the default of a column, and the last number that it gave; none as long as
-- it gave none.
SELECT namespace.nspname::text AS schema, class.relname::text AS name,
    pg_sequence_last_value(class.oid) AS last
FROM pg_attribute AS attribute
JOIN pg_attrdef AS value
    ON value.adrelid = attribute.attrelid AND value.adnum = attribute.attnum
JOIN pg_depend AS depend ON depend.classid = 'pg_attrdef'::regclass AND depend.objid = value.oid
    AND depend.refclassid = 'pg_class'::regclass
JOIN pg_class AS class ON class.oid = depend.refobjid AND class.relkind = 'S'
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE attribute.attrelid = $1::oid AND attribute.attname = $2::text
