-- Whoever waits for a lock makes everybody else queue up behind it: short tries. And nobody waits for
-- the disk with the locks: a writer that commits afterwards writes the exchange with its own commit.
SET LOCAL lock_timeout = 50; SET LOCAL synchronous_commit = off
