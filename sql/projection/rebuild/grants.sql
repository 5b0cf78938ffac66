-- What others may do with relations of a schema ($1) and not with those of the same name in another
-- ($2), whole or by columns; and what those may who may not here, since it is a default of the
-- server. A relation that is new takes the defaults of the schema.
WITH pairs AS (
    SELECT new.oid AS new, old.oid AS old, new.relname AS name, new.relkind AS kind,
        new.relowner AS new_owner, coalesce(old.relowner, new.relowner) AS owner,
        new.relacl AS new_acl, old.relacl AS old_acl
    FROM pg_class AS new
    LEFT JOIN pg_class AS old ON old.relname = new.relname AND old.relkind = new.relkind
        AND old.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
    WHERE new.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2)
        AND new.relkind IN ('r', 'p', 'v', 'm', 'S')
), wanted AS (
    SELECT new, acl.grantee, acl.privilege_type AS privilege, acl.is_grantable AS grantable
    FROM pairs, aclexplode(old_acl) AS acl
    UNION
    SELECT new, acl.grantee, acl.privilege_type, acl.is_grantable
    FROM pairs JOIN pg_default_acl AS own ON own.defaclrole = new_owner
        AND own.defaclnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
        AND own.defaclobjtype = CASE kind WHEN 'S' THEN 'S' ELSE 'r' END::"char",
        aclexplode(own.defaclacl) AS acl
    WHERE old IS NULL
), had AS (
    SELECT new, acl.grantee, acl.privilege_type AS privilege, acl.is_grantable AS grantable
    FROM pairs, aclexplode(new_acl) AS acl
), defaults AS (
    SELECT new, acl.grantee, acl.privilege_type AS privilege
    FROM pairs JOIN pg_default_acl AS own ON own.defaclrole = new_owner AND own.defaclnamespace = 0
        AND own.defaclobjtype = CASE kind WHEN 'S' THEN 'S' ELSE 'r' END::"char",
        aclexplode(own.defaclacl) AS acl
    WHERE old IS NOT NULL
), columns AS (
    SELECT new, own.attname AS column_name, acl.grantee, acl.privilege_type AS privilege,
        acl.is_grantable AS grantable
    FROM pairs JOIN pg_attribute AS own ON own.attrelid = old AND NOT own.attisdropped
    JOIN pg_attribute AS same ON same.attrelid = new AND same.attname = own.attname
        AND NOT same.attisdropped,
        aclexplode(own.attacl) AS acl
), found AS (
    SELECT new, NULL::name AS column_name, grantee, privilege, grantable, false AS revoke FROM wanted
    WHERE NOT EXISTS (SELECT FROM had WHERE had.new = wanted.new AND had.grantee = wanted.grantee
        AND had.privilege = wanted.privilege AND had.grantable >= wanted.grantable)
    UNION ALL
    SELECT new, NULL, grantee, privilege, false, true FROM had
    WHERE EXISTS (SELECT FROM defaults WHERE defaults.new = had.new
            AND defaults.grantee = had.grantee AND defaults.privilege = had.privilege)
        AND NOT EXISTS (SELECT FROM wanted WHERE wanted.new = had.new
            AND wanted.grantee = had.grantee AND wanted.privilege = had.privilege)
    UNION ALL
    SELECT new, column_name, grantee, privilege, grantable, false FROM columns
)
SELECT pairs.name::text AS name, pairs.kind = 'S' AS sequence, column_name::text AS "column",
    privilege, CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee)::text END AS grantee,
    grantable, revoke
FROM found JOIN pairs ON pairs.new = found.new
WHERE grantee NOT IN (owner, new_owner)
ORDER BY 1, 3, 5, 4
