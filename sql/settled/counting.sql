-- How the sequence of the positions counts at present.
SELECT namespace.nspname::text AS schema, class.relname::text AS name,
    sequence.seqcache AS cache, sequence.seqincrement AS increment, sequence.seqcycle AS cycle
FROM pg_sequence AS sequence
JOIN pg_class AS class ON class.oid = sequence.seqrelid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE sequence.seqrelid = $1
