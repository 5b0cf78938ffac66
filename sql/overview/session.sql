-- What looks at a store writes nothing, and waits for nobody longer than this.
SET default_transaction_read_only = on;
SET statement_timeout = '30s';
SET lock_timeout = '5s'
