-- Memory for the checks of one import, no time limit, and no functions but the server's own;
-- given back before the events are loaded, or when the session ends.
SET temp_buffers = '32MB';
SET work_mem = '64MB';
SET statement_timeout = 0;
SET search_path = pg_catalog
