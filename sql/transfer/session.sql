-- Policies must not hide rows from the copy: with this the server refuses instead.
SET row_security = off; SET default_transaction_isolation = 'read committed';
SET statement_timeout = 0; SET lock_timeout = '10s'
