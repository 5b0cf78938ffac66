//! What is settled, and what may leave: nobody who reads up to the settled position misses an
//! event, whatever the order of commits; and no leaf passes the fence before everybody has read it.

#[path = "../support/mod.rs"]
mod support;

mod fence;
mod refusals;
mod torture;

use std::time::Duration;

use postgres::Client;
use pupctl::Result;
use pupctl::db::{Interrupt, settled};
use pupctl::layout::name::QualifiedName;

use support::TestDatabase;

/// The table of events.
pub(crate) fn events() -> QualifiedName {
    QualifiedName::new("public", "events")
}

/// Waits so long for all that is drawn by now.
pub(crate) fn wait(client: &mut Client, patience: Duration) -> Result<i64> {
    settled::wait(client, &events(), patience, &Interrupt::default(), &mut |_| {})
}

/// A store with two contexts.
pub(crate) fn store(db: &TestDatabase) {
    db.pupctl(["schema", "init", "--partition-by", "context", "--contexts", "A,B"]).success();
}

/// The statement that adds an event of an aggregate of its own to a table.
pub(crate) fn insert(table: &str, context: &str) -> String {
    let id = support::event_id();
    format!(
        "INSERT INTO {table} (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         VALUES ('{context}', 'Order', '{id}', 1, '{id}', 'OrderPlaced', '')"
    )
}
