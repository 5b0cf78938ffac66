-- The partitions that have the CHECK of a closed month, and whether all rows were looked at.
SELECT conrelid AS oid, convalidated AS valid FROM pg_constraint
WHERE conname = $1 AND contype = 'c' AND conrelid = ANY ($2::oid[])
