SELECT 'pg_temp.pupctl_probe'::regclass::oid AS oid
