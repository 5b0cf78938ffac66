-- Whoever follows the settled position waits as long as it takes.
SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false),
    set_config('default_transaction_isolation', 'read committed', false)
