-- Runs that do not follow what comes before them in the file or in the store.
SELECT first_line, bounded_context, aggregate_type, aggregate_id, first_version, head,
    last_before, line_before, count(*) OVER () AS total
FROM pg_temp.pupctl_import_moves
WHERE first_version <> coalesce(last_before, head) + 1
    AND (last_before IS NOT NULL OR first_version > head)
ORDER BY first_line LIMIT $1
