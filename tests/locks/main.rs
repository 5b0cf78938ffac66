//! Nobody waits: what holds pupctl up, what it tells about it, and how it stops.
//!
//! Nothing here sleeps to hit a moment: pupctl is held at a fail point or by a lock, and the
//! tests wait until the server shows it there.

#[path = "../support/mod.rs"]
mod support;

mod endings;
mod pupctls;
mod tables;

use postgres::Client;
use support::{TestDatabase, eventually};

/// A database with a store that is divided by months, and an event in the current one.
fn months() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "-q", "--partition-by", "month", "--months", "1"]).success();
    insert(&mut db.client());
    db
}

/// Adds an event.
fn insert(client: &mut Client) {
    let sql = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
        aggregate_version, event_id, event_type, payload)
        SELECT 'Shop', 'Order', gen_random_uuid(), 1, gen_random_uuid(), 'Placed', ''";
    client.execute(sql, &[]).expect("an event");
}

/// The leaves of events.
fn leaves(db: &TestDatabase) -> i64 {
    db.one("SELECT count(*) FROM pg_partition_tree('events') WHERE isleaf")
}

/// The journal, as `command outcome`, a line each.
fn journal(db: &TestDatabase) -> String {
    db.one(
        "SELECT string_agg(command || ' ' || outcome, E'\\n' ORDER BY id) FROM pupctl_operations",
    )
}

/// The server process of the pupctl that waits for a lock on a table.
fn waiting(db: &TestDatabase) -> i32 {
    let sql = "SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'pupctl/%'
            AND wait_event_type = 'Lock'";
    let mut client = db.client();
    let mut found = None;
    eventually("pupctl waits for a lock", || {
        found = client.query_opt(sql, &[]).expect("the sessions").map(|row| row.get(0));
        found.is_some()
    });
    found.expect("a process")
}

/// Waits until a pupctl has the lock of the store.
fn has_store_lock(db: &TestDatabase) {
    let sql = "SELECT EXISTS (SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    let mut client = db.client();
    eventually("pupctl has the lock of the store", || {
        client.query_one(sql, &[]).expect("the locks").get(0)
    });
}

/// What was told, with what differs from run to run replaced.
fn plain() -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"process \d+", "process [pid]");
    // Either arrives first when the server ends a session.
    let ended = r"connection closed|terminating connection .* \(SQLSTATE 57P01\)";
    settings.add_filter(ended, "[last words]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "[time]");
    settings.add_filter(r"\b\d{4}-\d\d\b", "[month]");
    settings.add_filter(r"_\d{4}_\d\d\b", "_[month]");
    settings.bind_to_scope()
}
