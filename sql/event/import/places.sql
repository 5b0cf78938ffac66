CREATE INDEX ON pg_temp.pupctl_import_events (place)
