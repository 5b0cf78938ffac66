-- A worker that hangs in the middle of a batch loses its slots after this time. Each statement of a
-- batch has to see what was committed before it, and to write, whatever the role or the database have
-- by default.
SELECT set_config('idle_in_transaction_session_timeout', $1, false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('default_transaction_read_only', 'off', false)
