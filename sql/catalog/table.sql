-- Any table of a schema, a partition or not, with the columns of relations.sql and a few more.
SELECT class.oid, coalesce(inherits.inhdetachpending, false) AS detach_pending,
    namespace.nspname::text AS schema,
    class.relname::text AS name,
    class.relkind::text AS kind,
    CASE WHEN class.relispartition THEN pg_get_expr(class.relpartbound, 0) END AS bound,
    CASE WHEN class.relkind = 'p' THEN pg_get_partkeydef(class.oid) END AS partition_key,
    pg_get_userbyid(class.relowner)::text AS owner,
    pg_has_role(class.relowner, 'USAGE') AS owned,
    class.relreplident::text AS replica_identity,
    class.relrowsecurity AS row_security,
    tablespace.spcname::text AS tablespace,
    class.reltuples AS rows,
    NULL::jsonb AS grants,
    obj_description(class.oid, 'pg_class') AS comment,
    class.reloftype <> 0 AS typed,
    above.nspname::text AS parent_schema,
    parent.relname::text AS parent_name,
    EXISTS (SELECT FROM pg_inherits AS below WHERE below.inhparent = class.oid) AS has_children,
    -- As a partition it has no use for any rule.
    ARRAY(SELECT rule.rulename::text FROM pg_rewrite AS rule
        WHERE rule.ev_class = class.oid AND rule.ev_enabled <> 'D' AND rule.rulename <> '_RETURN'
        ORDER BY rule.rulename) AS rules
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
LEFT JOIN pg_tablespace AS tablespace ON tablespace.oid = class.reltablespace
LEFT JOIN pg_inherits AS inherits ON inherits.inhrelid = class.oid AND inherits.inhseqno = 1
LEFT JOIN pg_class AS parent ON parent.oid = inherits.inhparent
LEFT JOIN pg_namespace AS above ON above.oid = parent.relnamespace
WHERE namespace.nspname = $1::text AND class.relname = $2::text
    AND class.relkind IN ('r', 'p', 'v', 'm', 'f')
