//! Rows leave DEFAULT partitions for partitions of their own, and nobody misses one meanwhile.

#[path = "../support/mod.rs"]
mod support;

mod interrupted;
mod layouts;
mod meanwhile;
mod refused;

use support::{Output, TestDatabase, event_id};

/// A store with these protections, and rows in the DEFAULT partition of the tables named.
pub(crate) fn store(by: &str, more: &[&str], defaults: &[&str]) -> TestDatabase {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", by, "--months", "0"];
    db.pupctl(init.iter().chain(more)).success();
    for table in defaults {
        add_default(&db, table);
    }
    db
}

/// A DEFAULT partition as somebody makes it by hand.
pub(crate) fn add_default(db: &TestDatabase, table: &str) {
    db.execute(&format!("CREATE TABLE {table}_default PARTITION OF {table} DEFAULT"));
    if table.starts_with("events") {
        db.execute(&format!("ALTER TABLE {table}_default ADD UNIQUE (global_position)"));
    }
}

/// Adds one event of an aggregate of its own, and its head.
pub(crate) fn append(db: &TestDatabase, context: &str, created_at: &str) {
    let id = event_id();
    db.execute(&format!(
        "{};
         INSERT INTO aggregate_heads VALUES ('{context}', 'Order', '{id}', 1)
         ON CONFLICT DO NOTHING",
        insert("events", context, &id, created_at)
    ));
}

/// The statement that adds an event.
pub(crate) fn insert(table: &str, context: &str, id: &str, created_at: &str) -> String {
    format!(
        "INSERT INTO {table} (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         VALUES ('{context}', 'Order', '{id}', 1, '{id}', 'OrderPlaced', '{{}}', '{created_at}')"
    )
}

/// Many events of one context, from the first of a month on.
pub(crate) fn fill(db: &TestDatabase, context: &str, month: &str, rows: u32) {
    let context = context.replace('\'', "''");
    db.execute(&format!(
        "SET pupctl.maintenance = on;
         INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         SELECT '{context}', 'Order', '{context}-{month}-' || n, 1, gen_random_uuid(), 'OrderPlaced',
            'x', '{month}-01T00:00:00Z'::timestamptz + n * interval '1 second'
         FROM generate_series(1, {rows}) AS n;
         INSERT INTO aggregate_heads
         SELECT '{context}', 'Order', '{context}-{month}-' || n, 1 FROM generate_series(1, {rows}) AS n"
    ));
}

/// Drains, waiting for a run that died a moment ago.
pub(crate) fn drain(db: &TestDatabase, more: &[&str]) -> Output {
    db.pupctl(["partitions", "drain", "--wait", "60s"].iter().chain(more))
}

/// Everything that the two tables hold.
pub(crate) fn rows(db: &TestDatabase) -> Vec<String> {
    let mut lines = db.texts("SELECT to_jsonb(event)::text FROM public.events AS event ORDER BY 1");
    lines.extend(
        db.texts("SELECT to_jsonb(head)::text FROM public.aggregate_heads AS head ORDER BY 1"),
    );
    lines
}

/// No stage, no drained table, nothing found.
#[track_caller]
pub(crate) fn nothing_is_left(db: &TestDatabase) {
    let strays = db.texts(
        "SELECT relname::text FROM pg_catalog.pg_class WHERE relnamespace = 'public'::regnamespace
         AND relkind IN ('r', 'p') AND (relname LIKE '%drain%' OR relname LIKE '%next%') ORDER BY 1",
    );
    assert!(strays.is_empty(), "{strays:?}");
    let checks = db.texts(
        "SELECT conname::text FROM pg_catalog.pg_constraint WHERE conname = 'pupctl_bounds'",
    );
    assert!(checks.is_empty(), "{checks:?}");
}
