-- The table of events, and what forbids reading its settled position here.
SELECT class.oid, pg_is_in_recovery() AS standby, row_security_active(class.oid) AS secured,
    EXISTS (
        WITH RECURSIVE tree AS (
            SELECT class.oid
            UNION ALL
            SELECT inherits.inhrelid FROM tree JOIN pg_inherits AS inherits ON inherits.inhparent = tree.oid
        )
        SELECT FROM tree JOIN pg_subscription_rel AS subscription ON subscription.srrelid = tree.oid
    ) AS subscribed
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = $1 AND class.relname = $2 AND class.relkind IN ('r', 'p')
