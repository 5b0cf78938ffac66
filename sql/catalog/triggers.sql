-- Triggers that somebody made on the table itself: those of foreign keys are internal, and those
-- of a parent's row triggers come and go with it. Without pg_get_triggerdef, which
-- opens and locks the table; pg_get_expr without a relation cannot show what names columns.
SELECT trigger.tgrelid AS relation, trigger.tgname::text AS name,
    namespace.nspname::text AS schema, function.proname::text AS function,
    trigger.tgtype AS timing, trigger.tgenabled IN ('O', 'A') AS enabled,
    trigger.tgnewtable::text AS added,
    CASE WHEN trigger.tgqual::text LIKE '%{VAR %' THEN 'a condition on columns'
        ELSE pg_get_expr(trigger.tgqual, 0) END AS condition
FROM unnest($1::oid[]) AS wanted (oid)
JOIN pg_trigger AS trigger ON trigger.tgrelid = wanted.oid
JOIN pg_proc AS function ON function.oid = trigger.tgfoid
JOIN pg_namespace AS namespace ON namespace.oid = function.pronamespace
WHERE NOT trigger.tgisinternal AND trigger.tgparentid = 0
ORDER BY trigger.tgrelid, trigger.tgname
