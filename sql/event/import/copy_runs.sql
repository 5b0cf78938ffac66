COPY pg_temp.pupctl_import_runs FROM STDIN (FORMAT binary)
