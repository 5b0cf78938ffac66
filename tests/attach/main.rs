//! Partitions leave events and come back: what stays as it was, what is refused before, and what
//! writers and readers notice.

#[path = "../support/mod.rs"]
mod support;

mod attach;
mod detach;
mod governor;
mod killed;
mod meanwhile;

use support::{Output, TestDatabase};

/// A store of this layout with the context A, and with months from half a year ago.
fn store(layout: &str) -> TestDatabase {
    let db = TestDatabase::new();
    let init = ["schema", "init", "-q", "--partition-by", layout, "--contexts", "A,B"];
    db.pupctl(init).success();
    if layout.contains("month") {
        let from = db.month(-6);
        db.pupctl(["partitions", "ensure", "-q", "--from", &from]).success();
    }
    db
}

/// Adds so many events of a context in a month, each the first or the next of its aggregate.
fn events(db: &TestDatabase, context: &str, month: i32, count: i32) {
    db.execute(&format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         SELECT '{context}', 'Order', '{context}' || number,
            coalesce((SELECT aggregate_version FROM aggregate_heads
                WHERE bounded_context = '{context}' AND aggregate_id = '{context}' || number), 0) + 1,
            gen_random_uuid(), 'Placed', '\\x00', '{}-03 00:00:00+00'
         FROM generate_series(1, {count}) AS number",
        db.month(month)
    ));
    // Where no guard does it, as the clients do.
    db.execute(
        "INSERT INTO aggregate_heads AS head (bounded_context, aggregate_type, aggregate_id,
            aggregate_version)
         SELECT bounded_context, aggregate_type, aggregate_id, max(aggregate_version)
         FROM events GROUP BY 1, 2, 3
         ON CONFLICT (bounded_context, aggregate_type, aggregate_id) DO UPDATE
         SET aggregate_version = excluded.aggregate_version
         WHERE head.aggregate_version < excluded.aggregate_version",
    );
}

#[track_caller]
fn detach(db: &TestDatabase, arguments: &[&str]) -> Output {
    db.pupctl(["partitions", "detach", "--wait", "60s"].iter().chain(arguments))
}

#[track_caller]
fn attach(db: &TestDatabase, arguments: &[&str]) -> Output {
    db.pupctl(["partitions", "attach", "--wait", "60s"].iter().chain(arguments))
}

/// The name of the partition of a month, this far from the current one.
fn leaf(db: &TestDatabase, base: &str, ahead: i32) -> String {
    format!("{base}_{}", db.month(ahead).replace('-', "_"))
}

/// All rows of a table, as the server prints them.
fn rows(db: &TestDatabase, table: &str) -> Vec<String> {
    db.texts(&format!("SELECT row::text FROM public.{table} AS row ORDER BY global_position"))
}

/// Fails unless nothing differs from the layout.
#[track_caller]
fn verified(db: &TestDatabase) {
    db.pupctl(["schema", "verify", "--exit-code"]).success();
}
