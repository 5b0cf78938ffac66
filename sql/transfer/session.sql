-- Policies must not hide rows from the copy: with this the server refuses instead.
SET row_security = off; SET default_transaction_isolation = 'read committed';
SET statement_timeout = 0; SET lock_timeout = '10s';
-- A role may have limits for its applications, which would end a copy half way.
SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0;
SET default_transaction_deferrable = off;
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
WHERE name = 'transaction_timeout';
-- What works for a client that is gone ends within a second, where the server can tell.
DO $$
BEGIN
    SET client_connection_check_interval = '1s';
EXCEPTION WHEN OTHERS THEN
    NULL;
END
$$
