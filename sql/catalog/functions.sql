-- The functions behind pupctl's triggers, and what they are trusted for.
SELECT function.proname::text AS name, function.prosrc AS body, function.prosecdef AS definer,
    coalesce(function.proconfig, '{}') AS settings,
    language.lanname = 'plpgsql' AND function.pronargs = 0 AS plain
FROM pg_proc AS function
JOIN pg_namespace AS namespace ON namespace.oid = function.pronamespace
JOIN pg_language AS language ON language.oid = function.prolang
WHERE namespace.nspname = $1::text AND function.proname::text = ANY ($2::text[])
