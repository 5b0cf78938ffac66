//! All that a database holds, as text to compare before and after.

use postgres::Client;

/// What can be changed in the catalog: relations with their columns, owners, grants, bounds,
/// keys, options and comments; schemas; sequences. Without what belongs to one session, whose
/// schema the server keeps for the next one.
const CATALOG: &str = "
SELECT concat_ws(' | ', class.oid::regclass, class.relkind, class.relowner::regrole, class.relacl,
    class.reloptions, class.relispartition, pg_get_expr(class.relpartbound, class.oid),
    class.relreplident, obj_description(class.oid, 'pg_class'),
    (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull,
            pg_get_expr(adbin, adrelid)), ', ' ORDER BY attnum)
     FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
     WHERE attrelid = class.oid AND attnum > 0 AND NOT attisdropped),
    (SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid), ', ' ORDER BY conname)
     FROM pg_constraint WHERE conrelid = class.oid),
    CASE WHEN class.relkind IN ('i', 'I') THEN pg_get_indexdef(class.oid) END)
FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname NOT IN ('pg_catalog', 'information_schema')
    AND namespace.nspname !~ '^pg_(toast|temp_)'
UNION ALL
SELECT concat_ws(' | ', nspname, nspowner::regrole, nspacl) FROM pg_namespace
WHERE nspname !~ '^pg_(toast_)?temp_'
ORDER BY 1";

const TABLES: &str = "
SELECT format('%I.%I', nspname, relname)
FROM pg_class JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema')
    AND nspname !~ '^pg_temp_'
ORDER BY 1";

/// Everything in the database, the rows of its tables included.
#[track_caller]
pub fn fingerprint(client: &mut Client) -> String {
    let mut lines: Vec<String> = Vec::new();
    let first = |row: postgres::Row| -> String { row.get(0) };
    lines.extend(client.query(CATALOG, &[]).expect("the catalog").into_iter().map(first));
    for row in client.query(TABLES, &[]).expect("the tables") {
        let table: String = row.get(0);
        let rows = format!("SELECT row_to_json(t)::text FROM {table} AS t ORDER BY 1");
        let rows = client.query(&rows, &[]).expect("the rows").into_iter().map(first);
        lines.extend(rows.map(|row| format!("{table}: {row}")));
    }
    lines.join("\n")
}
