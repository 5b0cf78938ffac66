-- What partitions are compared in with their parents, beside columns and constraints.
SELECT class.oid,
    class.relpersistence = 'u' AS unlogged,
    class.relforcerowsecurity AS force_row_security,
    coalesce(class.reloptions, '{}') AS options,
    CASE WHEN class.relacl IS NOT NULL THEN (
        SELECT jsonb_agg(jsonb_build_object(
            'grantee', CASE WHEN acl.grantee <> 0 THEN pg_get_userbyid(acl.grantee) END,
            'privilege', acl.privilege_type,
            'grantable', acl.is_grantable))
        FROM aclexplode(class.relacl) AS acl WHERE acl.grantee <> class.relowner) END AS grants
FROM unnest($1::oid[]) AS wanted (oid)
JOIN pg_class AS class ON class.oid = wanted.oid
