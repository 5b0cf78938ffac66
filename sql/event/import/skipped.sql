SELECT line FROM pg_temp.pupctl_import_existing ORDER BY line
