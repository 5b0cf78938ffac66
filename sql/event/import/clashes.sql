-- Events that cannot go in beside what the store has: others in their place, or, behind line $1,
-- the same ones; with how many there are.
SELECT line, clash, count(*) OVER () AS total
FROM pg_temp.pupctl_import_existing
WHERE clash IS NOT NULL OR line > $1
ORDER BY line LIMIT $2
