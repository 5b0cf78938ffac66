//! The library's append and reads, on every layout: what goes in comes out, versions have no
//! holes, and of two writers one is told that it lost.

#[path = "../support/mod.rs"]
mod support;

mod append;
mod conflicts;
mod examples;
mod guard;
mod input;
mod names;
mod read;
mod times;
mod window;

use chrono::{DateTime, Utc};
use postgres::Client;
use pupctl::store::{NewEvent, Store, StoredEvent, StreamId};
use uuid::Uuid;

use crate::support::{TestDatabase, event_id};

/// The seven.
const LAYOUTS: [&str; 7] =
    ["none", "context", "hash", "month", "context,hash", "context,month", "hash,month"];

/// A store of this layout, whose months nothing guards.
fn store(layout: &str) -> TestDatabase {
    let db = TestDatabase::new();
    let mut arguments = vec!["schema", "init", "--partition-by", layout, "--months", "1"];
    arguments.extend(["--contexts", "Sales,Billing"]);
    if layout.contains("hash") {
        arguments.extend(["--hash-partitions", "2"]);
    }
    arguments.extend(unguarded(layout));
    db.pupctl(&arguments).success();
    db
}

/// What leaves the guard away, where it comes by itself.
fn unguarded(layout: &str) -> &'static [&'static str] {
    let guard: &[&str] = &["--guard", "none", "--allow-duplicate-versions"];
    if layout.contains("month") { guard } else { &[] }
}

/// A session, and the store opened on it.
fn open(db: &TestDatabase) -> (Client, Store) {
    let mut client = db.client();
    let store = Store::open(&mut client, "public").expect("a store");
    (client, store)
}

fn order(id: &str) -> StreamId<'_> {
    StreamId::new("Sales", "Order", id)
}

/// An event of an order, with an id of its own.
fn placed(id: &str) -> NewEvent<'_> {
    let event_id = Uuid::parse_str(&event_id()).expect("a UUID");
    NewEvent::new(order(id), event_id, "OrderPlaced").payload(b"{}")
}

fn several(id: &str, count: usize) -> Vec<NewEvent<'_>> {
    (0..count).map(|_| placed(id)).collect()
}

/// The instant that this text is.
#[track_caller]
fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn versions(events: &[StoredEvent]) -> Vec<i64> {
    events.iter().map(|event| event.aggregate_version).collect()
}

/// The head of an order as the table has it.
fn head(db: &TestDatabase, id: &str) -> Option<i64> {
    let sql = "SELECT aggregate_version FROM aggregate_heads WHERE aggregate_id = $1";
    let row = db.client().query_opt(sql, &[&id]).expect("at most one head");
    row.map(|row| row.get(0))
}
