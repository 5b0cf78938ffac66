-- What a trial is run with, whatever the role or the database have by default; the name of its
-- schema; and whether there is a store ($1) whose events it may take after.
SELECT 'pupctl_trial_' || pg_backend_pid() AS scratch, to_regclass($1) IS NOT NULL AS is_there,
    set_config('TimeZone', 'UTC', true), set_config('IntervalStyle', 'postgres', true),
    set_config('bytea_output', 'hex', true), set_config('extra_float_digits', '1', true),
    set_config('check_function_bodies', 'on', true)
