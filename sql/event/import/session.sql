-- Memory for the checks of one import; given back when the session ends.
SET temp_buffers = '32MB';
SET work_mem = '64MB'
