-- Policies must not hide rows from the copy: with this the server refuses instead.
SET row_security = off; SET default_transaction_isolation = 'read committed';
SET statement_timeout = 0; SET lock_timeout = '10s';
-- What works for a client that is gone ends within a second, where the server can tell.
DO $$
BEGIN
    SET client_connection_check_interval = '1s';
EXCEPTION WHEN OTHERS THEN
    NULL;
END
$$
