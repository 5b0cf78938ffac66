-- Triggers that somebody made. Those of pupctl come and go with the layout, and while it works.
SELECT to_jsonb(found) FROM (
    SELECT trigger.tgname AS name, pg_get_triggerdef(trigger.oid) AS definition,
        trigger.tgenabled AS enabled,
        trigger.tgtype::int & 1 <> 0 AS for_rows,
        trigger.tgtype::int & 2 <> 0 AS before,
        trigger.tgnewtable IS NOT NULL OR trigger.tgoldtable IS NOT NULL AS transition,
        trigger.tgconstraint <> 0 AS constraint,
        obj_description(trigger.oid, 'pg_trigger') AS comment
    FROM pg_trigger AS trigger
    JOIN pg_proc AS function ON function.oid = trigger.tgfoid
    WHERE trigger.tgrelid = $1::oid AND NOT trigger.tgisinternal AND trigger.tgparentid = 0
        AND NOT (starts_with(trigger.tgname, 'pupctl_') AND starts_with(function.proname, 'pupctl_'))
    ORDER BY trigger.tgname
) AS found
