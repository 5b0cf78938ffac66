-- The tables that were frozen longest ago, their TOAST tables with them.
SELECT namespace.nspname::text AS schema, class.relname::text AS name,
    greatest(age(class.relfrozenxid), age(toast.relfrozenxid))::bigint AS transactions,
    greatest(mxid_age(class.relminmxid), mxid_age(toast.relminmxid))::bigint AS multixacts
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
LEFT JOIN pg_class AS toast ON toast.oid = class.reltoastrelid
WHERE class.oid = ANY ($1::oid[]) AND class.relkind = 'r'
ORDER BY greatest(
    age(class.relfrozenxid), age(toast.relfrozenxid),
    mxid_age(class.relminmxid), mxid_age(toast.relminmxid)) DESC, 2
LIMIT 10
