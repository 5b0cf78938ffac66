//! Events in files: what is written, in which order, and what is refused.

#[path = "../support/mod.rs"]
mod support;

mod export;
mod windows;

use serde_json::Value;
use support::{Output, TestDatabase};

/// A store in a layout, with the contexts A and B where it is divided by context.
fn store(by: &str) -> TestDatabase {
    let db = TestDatabase::new();
    init(&db, by);
    db
}

fn init(db: &TestDatabase, by: &str) {
    let contexts: &[&str] = if by.starts_with("context") { &["--contexts", "A,B"] } else { &[] };
    let hash: &[&str] = if by.contains("hash") { &["--hash-partitions", "3"] } else { &[] };
    let layout = ["schema", "init", "--partition-by", by];
    db.pupctl(layout.iter().chain(contexts).chain(hash)).success();
}

/// Ten versions of each of so many aggregates, by turns in the contexts A and B; every third
/// event is of the next month.
fn fill(db: &TestDatabase, aggregates: i64) {
    let next = db.month(1);
    db.execute(&format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         SELECT CASE number % 2 WHEN 0 THEN 'A' ELSE 'B' END, 'Order', 'order-' || number, version,
            gen_random_uuid(), 'Placed', convert_to('{{\"version\": ' || version || '}}', 'UTF8'),
            CASE number % 3 WHEN 0 THEN '{next}-05 00:00:00Z' ELSE now() END
         FROM generate_series(1, 10) AS version, generate_series(1, {aggregates}) AS number;
         ANALYZE"
    ));
}

fn export(db: &TestDatabase, arguments: &[&str]) -> Output {
    db.pupctl(["events", "export"].iter().chain(arguments))
}

/// The events of a file.
#[track_caller]
fn events(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Their positions.
#[track_caller]
fn positions(text: &str) -> Vec<i64> {
    events(text).iter().map(|event| event["global_position"].as_i64().expect("a number")).collect()
}

/// The positions of the events in the database that meet a condition.
#[track_caller]
fn stored(db: &TestDatabase, condition: &str) -> Vec<i64> {
    db.one(&format!(
        "SELECT coalesce(array_agg(global_position ORDER BY global_position), '{{}}')
         FROM events WHERE {condition}"
    ))
}
