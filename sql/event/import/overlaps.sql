-- Whether the heads know of versions that the file has, or the store has events of it.
SELECT EXISTS (SELECT FROM pg_temp.pupctl_import_moves WHERE first_version <= head)
    OR EXISTS (SELECT FROM pg_temp.pupctl_import_existing) AS overlaps
