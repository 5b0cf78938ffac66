-- Whether one of these functions is there.
SELECT EXISTS (
    SELECT FROM pg_proc AS function
    JOIN pg_namespace AS namespace ON namespace.oid = function.pronamespace
    WHERE namespace.nspname = $1 AND function.proname = ANY ($2::text[])
) AS there
