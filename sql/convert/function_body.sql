SELECT function.prosrc AS body
FROM pg_proc AS function JOIN pg_namespace AS namespace ON namespace.oid = function.pronamespace
WHERE namespace.nspname = $1 AND function.proname = $2
