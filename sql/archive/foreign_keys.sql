SELECT conname::text AS name FROM pg_constraint WHERE conrelid = $1 AND contype = 'f'
ORDER BY conname
