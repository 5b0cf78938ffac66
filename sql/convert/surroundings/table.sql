-- What a table is in itself.
SELECT to_jsonb(found) FROM (
    SELECT class.oid::bigint AS oid, class.relkind AS kind,
        pg_get_userbyid(class.relowner) AS owner,
        pg_has_role(class.relowner, 'USAGE') AS owned,
        current_user AS role,
        ARRAY(SELECT rolname FROM pg_roles WHERE rolsuper ORDER BY 1) AS superusers,
        class.relpersistence AS persistence,
        CASE WHEN class.reloftype <> 0 THEN format_type(class.reloftype, NULL) END AS of_type,
        class.relispartition AS partition,
        (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'schema', other_namespace.nspname, 'name', other.relname)
                ORDER BY other_namespace.nspname, other.relname), '[]')
            FROM pg_inherits AS inherits JOIN pg_class AS other ON other.oid = inherits.inhparent
            JOIN pg_namespace AS other_namespace ON other_namespace.oid = other.relnamespace
            WHERE inherits.inhrelid = class.oid) AS parents,
        (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'schema', other_namespace.nspname, 'name', other.relname)
                ORDER BY other_namespace.nspname, other.relname), '[]')
            FROM pg_inherits AS inherits JOIN pg_class AS other ON other.oid = inherits.inhrelid
            JOIN pg_namespace AS other_namespace ON other_namespace.oid = other.relnamespace
            WHERE inherits.inhparent = class.oid) AS children,
        method.amname AS access_method,
        tablespace.spcname AS tablespace,
        ARRAY(SELECT option FROM unnest(class.reloptions) AS option ORDER BY option) AS options,
        ARRAY(SELECT option FROM unnest(toast.reloptions) AS option ORDER BY option) AS toast_options,
        class.relrowsecurity AS row_security,
        class.relforcerowsecurity AS force_row_security,
        row_security_active(class.oid) AS rows_hidden,
        class.relreplident AS replica_identity,
        obj_description(class.oid, 'pg_class') AS comment,
        (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'grantee', CASE WHEN acl.grantee <> 0 THEN pg_get_userbyid(acl.grantee) END,
                'privilege', acl.privilege_type, 'grantable', acl.is_grantable)
                ORDER BY acl.grantee, acl.privilege_type, acl.is_grantable), '[]')
            FROM aclexplode(class.relacl) AS acl WHERE acl.grantee <> class.relowner) AS grants,
        (SELECT coalesce(jsonb_agg(jsonb_build_object('column', attribute.attname,
                'grant', jsonb_build_object(
                    'grantee', CASE WHEN acl.grantee <> 0 THEN pg_get_userbyid(acl.grantee) END,
                    'privilege', acl.privilege_type, 'grantable', acl.is_grantable))
                ORDER BY attribute.attnum, acl.grantee, acl.privilege_type), '[]')
            FROM pg_attribute AS attribute CROSS JOIN aclexplode(attribute.attacl) AS acl
            WHERE attribute.attrelid = class.oid AND NOT attribute.attisdropped
                AND acl.grantee <> class.relowner) AS column_grants,
        ARRAY(SELECT full_acl.privilege_type
            FROM aclexplode(acldefault('r', class.relowner)) AS full_acl
            WHERE class.relacl IS NOT NULL AND NOT EXISTS (
                SELECT FROM aclexplode(class.relacl) AS own
                WHERE own.grantee = class.relowner AND own.privilege_type = full_acl.privilege_type)
            ORDER BY full_acl.privilege_type) AS revoked,
        (SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object(
                'grantee', CASE WHEN acl.grantee <> 0 THEN pg_get_userbyid(acl.grantee) END,
                'privilege', acl.privilege_type, 'grantable', acl.is_grantable)), '[]')
            FROM pg_default_acl AS defaults CROSS JOIN aclexplode(defaults.defaclacl) AS acl
            WHERE defaults.defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
                AND defaults.defaclobjtype = 'r'
                AND defaults.defaclnamespace IN (0, class.relnamespace)
                AND acl.grantee <> defaults.defaclrole) AS default_grants
    FROM pg_class AS class
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    LEFT JOIN pg_am AS method ON method.oid = class.relam
    LEFT JOIN pg_tablespace AS tablespace ON tablespace.oid = class.reltablespace
    LEFT JOIN pg_class AS toast ON toast.oid = class.reltoastrelid
    WHERE namespace.nspname = $1::text AND class.relname = $2::text
        AND class.relkind IN ('r', 'p', 'f', 'v', 'm')
) AS found
