-- Subscriptions that write to a table.
SELECT to_jsonb(subscription.subname)
FROM pg_subscription_rel AS member
JOIN pg_subscription AS subscription ON subscription.oid = member.srsubid
WHERE member.srrelid = $1::oid
ORDER BY subscription.subname
