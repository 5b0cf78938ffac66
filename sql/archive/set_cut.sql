-- The last position that leaves, for the statements that follow in this transaction.
SELECT set_config('pupctl.cut', $1::bigint::text, true)
