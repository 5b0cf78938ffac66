-- A worker that hangs in the middle of a batch loses its slots after this time.
SELECT set_config('idle_in_transaction_session_timeout', $1, false)
