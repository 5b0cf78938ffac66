SELECT pg_get_indexdef('pg_temp.pupctl_probe_index'::regclass) AS definition
