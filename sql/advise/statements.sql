-- Where the extension that counts statements lives, if the database has it.
SELECT namespace.nspname::text AS schema
FROM pg_extension AS extension
JOIN pg_namespace AS namespace ON namespace.oid = extension.extnamespace
WHERE extension.extname = 'pg_stat_statements'
