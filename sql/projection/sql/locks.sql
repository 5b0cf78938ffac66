-- What this transaction has locked beyond reading, other than the tables of a schema ($1, $2) with
-- their indexes, partitions and sequences, and what was made beside them. Tables ($3) that the
-- caller works on itself do not count.
WITH own AS (
    SELECT class.oid FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1::text AND class.relname = ANY ($2::text[])
), held AS (
    SELECT DISTINCT class.oid, class.relkind, namespace.nspname, class.relname, lock.mode,
        coalesce(index.indrelid, (
            SELECT depend.refobjid FROM pg_depend AS depend
            WHERE depend.classid = 'pg_class'::regclass AND depend.objid = class.oid
                AND depend.refclassid = 'pg_class'::regclass AND depend.deptype IN ('a', 'i')
            LIMIT 1
        ), class.oid) AS whose
    FROM pg_locks AS lock
    JOIN pg_class AS class ON class.oid = lock.relation
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    LEFT JOIN pg_index AS index ON index.indexrelid = class.oid
    WHERE lock.pid = pg_backend_pid() AND lock.locktype = 'relation' AND lock.granted
        AND lock.mode <> 'AccessShareLock' AND class.relpersistence <> 't'
        AND namespace.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')
)
SELECT nspname::text AS schema, relname::text AS name, mode, relkind::text AS kind
FROM held
WHERE whose NOT IN (SELECT oid FROM own)
    AND coalesce(pg_partition_root(whose), whose) NOT IN (SELECT oid FROM own)
    -- Views, types and sequences that belong to no table are made beside the tables.
    AND NOT (relkind IN ('v', 'S', 'c') AND whose = oid AND nspname = $1)
    AND NOT (mode = 'RowShareLock')
    AND NOT EXISTS (SELECT FROM unnest($3::text[]) AS mine (name)
        WHERE to_regclass(mine.name) IN (oid, whose))
ORDER BY mode = 'AccessExclusiveLock' DESC, nspname, relname
