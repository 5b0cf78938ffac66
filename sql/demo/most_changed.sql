SELECT path, changes FROM file_changes ORDER BY changes DESC, path LIMIT 5
