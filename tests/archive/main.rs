//! Events leave the store for files and come back: all of them, killed at any moment, whoever
//! writes and reads meanwhile; and where something is wrong, nothing is dropped.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "failpoints")]
mod crash;
mod everywhere;
mod expired;
mod fence;
#[cfg(feature = "failpoints")]
mod fence_again;
mod fire;
#[cfg(feature = "failpoints")]
mod kills;
mod refusals;
mod reports;
mod round_trip;
#[cfg(feature = "failpoints")]
mod server;
mod values;

use support::{Output, TestDatabase};

/// A store of this layout with the contexts A and B, and with months from three months ago.
fn store(layout: &str, more: &[&str]) -> TestDatabase {
    let db = TestDatabase::new();
    store_in(&db, layout, more);
    db
}

fn store_in(db: &TestDatabase, layout: &str, more: &[&str]) {
    let mut init =
        vec!["schema", "init", "-q", "--partition-by", layout, "--contexts", "A,B", "--months=1"];
    init.extend(layout.contains("hash").then_some("--hash-partitions=2"));
    init.extend(more);
    db.pupctl(init).success();
    if layout.contains("month") {
        let from = db.month(-3);
        db.pupctl(["partitions", "ensure", "-q", "--from", &from]).success();
    }
}

/// Adds two events each of so many aggregates of a context, in a month that lies this far from
/// the current one. They are of this month alone.
fn events(db: &TestDatabase, context: &str, month: i32, aggregates: i32) {
    let name = db.month(month);
    db.execute(&format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, metadata, created_at)
         SELECT '{context}', 'Order', '{name} ' || number, version,
            md5('{context} {name} ' || number || ' ' || version)::uuid, 'Placed',
            decode(md5(number::text), 'hex'), jsonb_build_object('number', number),
            '{name}-03 00:00:00.123456+00'::timestamptz + interval '1 minute' * number
         FROM generate_series(1, {aggregates}) AS number, generate_series(1, 2) AS version
         ORDER BY version, number"
    ));
    heads(db);
}

/// Where no guard does it, writers do.
fn heads(db: &TestDatabase) {
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

fn checkpoint(db: &TestDatabase, name: &str, position: i64) {
    db.client()
        .execute(
            "INSERT INTO projection_checkpoints VALUES ($1, $2)
             ON CONFLICT (projection_name) DO UPDATE SET last_global_position = $2",
            &[&name, &position],
        )
        .expect("a checkpoint");
}

/// Puts the event at a position among the dead letters of a projection.
fn park(db: &TestDatabase, projection: &str, position: i64, state: &str) {
    db.client()
        .execute(
            "INSERT INTO projection_dead_letters (projection, global_position, bounded_context,
                aggregate_type, aggregate_id, aggregate_version, event_id, event_type, state)
             SELECT $1, global_position, bounded_context, aggregate_type, aggregate_id,
                aggregate_version, event_id, event_type, $3
             FROM events WHERE global_position = $2",
            &[&projection, &position, &state],
        )
        .expect("a dead letter");
}

/// The name of the partition of a month, this far from the current one.
fn leaf(db: &TestDatabase, base: &str, ahead: i32) -> String {
    format!("{base}_{}", db.month(ahead).replace('-', "_"))
}

fn archive(db: &TestDatabase, arguments: &[&str]) -> Output {
    let verbs = ["list", "show", "verify"];
    let waits = arguments.first().is_none_or(|first| !verbs.contains(first))
        && !arguments.contains(&"--patience");
    // Nobody moves in most of these tests: to wait for longer would be in vain.
    let patience: &[&str] = if waits { &["--patience", "500ms"] } else { &[] };
    db.pupctl(["archive", "--yes", "--wait", "60s"].iter().chain(arguments).chain(patience))
}

fn restore(db: &TestDatabase, arguments: &[&str]) -> Output {
    db.pupctl(["restore", "--yes", "--wait", "60s"].iter().chain(arguments))
}

/// How many rows a table has.
fn count(db: &TestDatabase, table: &str) -> i64 {
    db.one(&format!("SELECT count(*) FROM {table}"))
}

/// The archives in order, as `name: phase`.
fn archives(db: &TestDatabase) -> Vec<String> {
    db.texts("SELECT name || ': ' || phase FROM public.pupctl_archives ORDER BY id")
}

/// Fails unless the store is as its layout says.
#[track_caller]
fn verified(db: &TestDatabase) {
    db.pupctl(["schema", "verify", "--exit-code"]).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}
