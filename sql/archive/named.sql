-- A relation of this name, and whether it may be one that an interrupted run has made.
SELECT pg_get_userbyid(class.relowner) = current_user AS owned,
    EXISTS (SELECT FROM pg_inherits WHERE inhrelid = class.oid) AS attached,
    EXISTS (SELECT FROM pg_index WHERE indrelid = class.oid AND indisprimary) AS keyed,
    obj_description(class.oid, 'pg_class') AS comment
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = $1::text AND class.relname = $2::text
