-- An export lasts as long as it lasts: the limits that a role has for its applications would end
-- it half way. It reads all rows or fails (row_security); it reads in the order of an index
-- instead of sorting whole partitions (enable_sort), unless a time filter leaves few rows.
SELECT set_config(setting.name, setting.value, true)
FROM (VALUES
    ('statement_timeout', '0'),
    ('idle_in_transaction_session_timeout', '0'),
    ('transaction_timeout', '0'),
    ('lock_timeout', $1::text),
    ('enable_sort', $2::text),
    ('max_parallel_workers_per_gather', '0'),
    ('row_security', 'off'),
    ('bytea_output', 'hex'),
    ('IntervalStyle', 'postgres'),
    ('extra_float_digits', '1')
) AS setting (name, value)
-- Some servers do not know all of them yet.
WHERE setting.name IN (SELECT known.name FROM pg_settings AS known)
