-- A look at a store waits for nobody for long: what is locked is told instead.
SET lock_timeout = '2s';
SET statement_timeout = '60s'
