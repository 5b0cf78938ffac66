COPY pg_temp.pupctl_import_packs FROM STDIN (FORMAT binary)
