-- The store's tables with everything below them, and branches that are being built beside.
-- Over pg_inherits, because pg_partition_tree locks every partition and leaves out those whose
-- detach is pending. pg_get_expr gets no relation, which a bound does not need: it would open and
-- lock every partition.
WITH RECURSIVE tree AS (
    SELECT class.oid, NULL::oid AS parent, false AS detach_pending, description.description AS mark
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    LEFT JOIN pg_description AS description ON description.objoid = class.oid
        AND description.classoid = 'pg_class'::regclass AND description.objsubid = 0
        AND starts_with(description.description, $3::text)
    WHERE namespace.nspname = $1::text AND NOT class.relispartition
        AND (class.relname::text = ANY ($2::text[])
            OR (class.relkind = 'p' AND description.description IS NOT NULL))
    UNION ALL
    SELECT inherits.inhrelid, inherits.inhparent, inherits.inhdetachpending, NULL
    FROM tree JOIN pg_inherits AS inherits ON inherits.inhparent = tree.oid
)
SELECT tree.oid, tree.parent, tree.detach_pending, tree.mark,
    namespace.nspname::text AS schema,
    class.relname::text AS name,
    class.relkind::text AS kind,
    CASE WHEN tree.parent IS NOT NULL THEN pg_get_expr(class.relpartbound, 0) END AS bound,
    CASE WHEN class.relkind = 'p' THEN pg_get_partkeydef(class.oid) END AS partition_key,
    pg_get_userbyid(class.relowner)::text AS owner,
    pg_has_role(class.relowner, 'USAGE') AS owned,
    class.relreplident::text AS replica_identity,
    class.relrowsecurity AS row_security,
    tablespace.spcname::text AS tablespace,
    class.reltuples AS rows,
    CASE WHEN class.relkind = 'p' AND class.relacl IS NOT NULL THEN (
        SELECT jsonb_agg(jsonb_build_object(
            'grantee', CASE WHEN acl.grantee <> 0 THEN pg_get_userbyid(acl.grantee) END,
            'privilege', acl.privilege_type,
            'grantable', acl.is_grantable))
        FROM aclexplode(class.relacl) AS acl WHERE acl.grantee <> class.relowner) END AS grants
FROM tree
JOIN pg_class AS class ON class.oid = tree.oid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
LEFT JOIN pg_tablespace AS tablespace ON tablespace.oid = class.reltablespace
