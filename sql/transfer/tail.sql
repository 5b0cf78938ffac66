-- The last rows are copied while writers wait. They reach the disk before the exchange does.
SET synchronous_commit = off
