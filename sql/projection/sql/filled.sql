-- What is in the batch: the positions, and the hashes of the ids.
SELECT array_agg(global_position) AS positions,
    array_agg(pg_catalog.uuid_hash_extended(event_id, 0::bigint)) AS hashes
FROM pg_temp.batch
