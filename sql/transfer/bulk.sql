-- A chunk is read by its positions. What a crash of the server takes is copied again: the exchange is
-- written to the disk with all that came before it.
SET enable_seqscan = off; SET synchronous_commit = off
