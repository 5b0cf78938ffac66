-- For the checks of one import: memory, no time limit, an error where a policy would hide rows,
-- and no functions but the server's own.
SET temp_buffers = '32MB';
SET work_mem = '64MB';
SET statement_timeout = 0;
SET row_security = off;
SET search_path = pg_catalog
