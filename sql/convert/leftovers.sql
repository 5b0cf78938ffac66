-- Whether one of the functions of a conversion is there, or one that protects events and that no
-- trigger calls.
SELECT EXISTS (
    SELECT FROM pg_proc AS function
    JOIN pg_namespace AS namespace ON namespace.oid = function.pronamespace
    WHERE namespace.nspname = $1 AND (function.proname = ANY ($2::text[])
        OR function.proname = ANY ($3::text[])
            AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgfoid = function.oid))
) AS there
