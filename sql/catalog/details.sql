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
        FROM aclexplode(class.relacl) AS acl WHERE acl.grantee <> class.relowner) END AS grants,
    (SELECT jsonb_agg(jsonb_build_object(
            'column', attribute.attname,
            'grantee', CASE WHEN acl.grantee <> 0 THEN pg_get_userbyid(acl.grantee) END,
            'privilege', acl.privilege_type,
            'grantable', acl.is_grantable) ORDER BY attribute.attnum)
        FROM pg_attribute AS attribute CROSS JOIN aclexplode(attribute.attacl) AS acl
        WHERE attribute.attrelid = class.oid AND NOT attribute.attisdropped
            AND acl.grantee <> class.relowner) AS column_grants,
    ARRAY(SELECT rule.rulename::text FROM pg_rewrite AS rule
        WHERE rule.ev_class = class.oid AND rule.ev_enabled <> 'D'
            -- A rule beside the statement on the table itself is somebody's choice.
            AND (class.relispartition OR rule.is_instead)
        ORDER BY rule.rulename) AS rules
FROM unnest($1::oid[]) AS wanted (oid)
JOIN pg_class AS class ON class.oid = wanted.oid
