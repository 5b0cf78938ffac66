COPY pg_temp.pupctl_import_extra FROM STDIN
