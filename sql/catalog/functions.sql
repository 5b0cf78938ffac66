-- The functions behind pupctl's triggers, and what they are trusted for.
SELECT function.proname::text AS name, function.prosrc AS body, function.prosecdef AS definer,
    coalesce(function.proconfig, '{}') AS settings,
    language.lanname = 'plpgsql' AND function.pronargs = 0 AS plain,
    -- It runs with its owner's rights, so it belongs to the owner of the events, and nobody else
    -- may put it behind a trigger of a table of his own.
    NOT EXISTS (
        SELECT FROM aclexplode(coalesce(function.proacl, acldefault('f', function.proowner))) AS acl
        WHERE acl.grantee = 0)
    AND NOT EXISTS (
        SELECT FROM pg_class AS events
        WHERE events.relnamespace = namespace.oid AND events.relname = $3::text
            AND events.relowner <> function.proowner) AS trusted
FROM pg_proc AS function
JOIN pg_namespace AS namespace ON namespace.oid = function.pronamespace
JOIN pg_language AS language ON language.oid = function.prolang
WHERE namespace.nspname = $1::text AND function.proname::text = ANY ($2::text[])
