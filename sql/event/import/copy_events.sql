COPY pg_temp.pupctl_import_events FROM STDIN (FORMAT binary)
