-- The columns of the batch that the statements of the probe use; none where they may use all, since a
-- row stands for itself in them.
SELECT attribute.attname::text
FROM pg_attribute AS attribute
WHERE attribute.attrelid = 'pg_temp.batch'::regclass
    AND attribute.attnum > 0 AND NOT attribute.attisdropped
    AND NOT EXISTS (SELECT FROM pg_proc WHERE oid = 'pg_temp.pupctl_probe'::regproc
        AND prosqlbody::text ~ ':varattno 0 ')
    AND (attribute.attname IN ('global_position', 'event_id', 'aggregate_id') OR EXISTS (
        SELECT FROM pg_depend AS depend
        WHERE depend.classid = 'pg_proc'::regclass AND depend.objid = 'pg_temp.pupctl_probe'::regproc
            AND depend.refclassid = 'pg_class'::regclass AND depend.refobjid = attribute.attrelid
            AND depend.refobjsubid = attribute.attnum))
ORDER BY attribute.attnum
