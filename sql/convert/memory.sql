-- For the building of indexes: what was asked for, unless the server gives more anyway.
SELECT CASE WHEN pg_size_bytes(current_setting('maintenance_work_mem')) < pg_size_bytes($1::text)
    THEN set_config('maintenance_work_mem', $1::text, false) END AS memory
