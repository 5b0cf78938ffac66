-- What is on tables of a schema ($1) and not on those of the same name in another ($2): triggers,
-- policies, rules, constraints, columns; and, as not essential, indexes, statistics and the like. What
-- an earlier file ($3) may have made is not essential either.
WITH pairs AS (
    SELECT old.oid AS old, new.oid AS new, old.relname AS name,
        old.relrowsecurity AND NOT new.relrowsecurity AS loses_row_security,
        old.reloptions IS NOT NULL AND new.reloptions IS NULL AS loses_options
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
SELECT format('the constraint %I on %I: %s', own.conname, name, pg_get_constraintdef(own.oid)), NOT $3
FROM pairs JOIN pg_constraint AS own ON own.conrelid = old
WHERE own.contype IN ('f', 'c', 'x', 'u', 'p') AND own.conparentid = 0
    AND NOT EXISTS (SELECT FROM pg_constraint AS same
        WHERE same.conrelid = new AND same.contype = own.contype
            AND (same.conname = own.conname
                OR pg_get_constraintdef(same.oid) = pg_get_constraintdef(own.oid)))
UNION ALL
SELECT format('the column %I of %I', own.attname, name), NOT $3::boolean
FROM pairs JOIN pg_attribute AS own ON own.attrelid = old AND own.attnum > 0
    AND NOT own.attisdropped
WHERE NOT EXISTS (SELECT FROM pg_attribute AS same
    WHERE same.attrelid = new AND same.attname = own.attname AND NOT same.attisdropped)
UNION ALL
SELECT format('the rights or the owner of the function %s', old.oid::regprocedure), true
FROM pg_proc AS new
JOIN pg_proc AS old ON old.proname = new.proname
    AND pg_get_function_identity_arguments(old.oid) = pg_get_function_identity_arguments(new.oid)
WHERE new.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = $2)
    AND old.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
    AND (new.proowner <> old.proowner
        OR coalesce(new.proacl, acldefault('f', new.proowner))
            IS DISTINCT FROM coalesce(old.proacl, acldefault('f', old.proowner)))
UNION ALL
SELECT format('the default of %I of %I', own.attname, name), false
FROM pairs JOIN pg_attribute AS own ON own.attrelid = old AND own.atthasdef
    AND own.attgenerated = '' AND own.attidentity = ''
JOIN pg_attribute AS same ON same.attrelid = new AND same.attname = own.attname
    AND NOT same.attisdropped
WHERE NOT same.atthasdef
UNION ALL
SELECT format('the storage parameters of %I', name), false FROM pairs WHERE loses_options
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
