-- The schemas that hold a store: each has its stored layout. A superuser is a member of every role,
-- so only what it owns itself counts as its own.
SELECT namespace.nspname::text AS schema, pg_get_userbyid(class.relowner)::text AS owner,
    class.relowner = role.oid OR (NOT role.rolsuper AND pg_has_role(class.relowner, 'USAGE')) AS own
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
JOIN pg_roles AS role ON role.rolname = current_user
WHERE class.relname = 'pupctl_layout' AND class.relkind = 'r' AND class.relpersistence <> 't'
ORDER BY 1
