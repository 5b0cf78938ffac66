-- What is on tables of a schema ($1) and not on those of the same name in another ($2): triggers,
-- policies, rules; and, as not essential, indexes and statistics.
WITH pairs AS (
    SELECT old.oid AS old, new.oid AS new, old.relname AS name,
        old.relrowsecurity AND NOT new.relrowsecurity AS loses_row_security
    FROM pg_class AS new
    JOIN pg_class AS old ON old.relname = new.relname
    WHERE new.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2)
        AND old.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
        AND new.relkind IN ('r', 'p', 'v') AND old.relkind IN ('r', 'p', 'v')
)
SELECT format('the trigger %I on %I', own.tgname, name) AS extra, true AS essential
FROM pairs JOIN pg_trigger AS own ON own.tgrelid = old
WHERE NOT own.tgisinternal AND NOT EXISTS (SELECT FROM pg_trigger AS same
    WHERE same.tgrelid = new AND same.tgname = own.tgname)
UNION ALL
SELECT format('the policy %I on %I', own.polname, name), true
FROM pairs JOIN pg_policy AS own ON own.polrelid = old
WHERE NOT EXISTS (SELECT FROM pg_policy AS same
    WHERE same.polrelid = new AND same.polname = own.polname)
UNION ALL
SELECT format('row level security of %I', name), true FROM pairs WHERE loses_row_security
UNION ALL
SELECT format('the rule %I on %I', own.rulename, name), true
FROM pairs JOIN pg_rewrite AS own ON own.ev_class = old
WHERE NOT EXISTS (SELECT FROM pg_rewrite AS same
    WHERE same.ev_class = new AND same.rulename = own.rulename)
UNION ALL
SELECT format('the index %I on %I', class.relname, name), false
FROM pairs JOIN pg_index AS own ON own.indrelid = old
JOIN pg_class AS class ON class.oid = own.indexrelid
WHERE NOT EXISTS (SELECT FROM pg_index AS same JOIN pg_class AS named ON named.oid = same.indexrelid
    WHERE same.indrelid = new AND (named.relname = class.relname
        OR (regexp_replace(pg_get_indexdef(same.indexrelid), '^.* USING ', '')
            = regexp_replace(pg_get_indexdef(own.indexrelid), '^.* USING ', ''))))
UNION ALL
SELECT format('the statistics %I on %I', own.stxname, name), false
FROM pairs JOIN pg_statistic_ext AS own ON own.stxrelid = old
WHERE NOT EXISTS (SELECT FROM pg_statistic_ext AS same
    WHERE same.stxrelid = new AND same.stxname = own.stxname)
ORDER BY 2 DESC, 1
