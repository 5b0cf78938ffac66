SELECT to_jsonb(rule.rulename)
FROM pg_rewrite AS rule
WHERE rule.ev_class = $1::oid AND rule.rulename <> '_RETURN'
ORDER BY rule.rulename
