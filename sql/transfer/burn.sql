-- A number after which no snapshot of before begins: whoever has one counts this as not ended.
SELECT pg_current_xact_id()::text AS xid
