SELECT to_jsonb(found) FROM (
    SELECT policy.polname AS name, policy.polpermissive AS permissive,
        CASE policy.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
            WHEN 'd' THEN 'DELETE' ELSE 'ALL' END AS command,
        ARRAY(SELECT CASE WHEN role <> 0 THEN pg_get_userbyid(role) END
            FROM unnest(policy.polroles) AS role ORDER BY 1) AS roles,
        pg_get_expr(policy.polqual, policy.polrelid) AS visible,
        pg_get_expr(policy.polwithcheck, policy.polrelid) AS writable,
        obj_description(policy.oid, 'pg_policy') AS comment
    FROM pg_policy AS policy
    WHERE policy.polrelid = $1::oid
    ORDER BY policy.polname
) AS found
