SELECT 'pg_temp.pupctl_probe_index'::regclass::oid AS oid
