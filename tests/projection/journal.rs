//! A projection that writes down what it is given, so that nothing it gets twice, and nothing it
//! never gets, stays unseen.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use pupctl::projection::{Event, HandlerError, Projection, Transaction};

use crate::support::TestDatabase;

/// Makes the table of the journals.
pub(crate) fn create(db: &TestDatabase) {
    db.execute(
        "CREATE TABLE journal (
            number bigint GENERATED ALWAYS AS IDENTITY,
            projection text, position bigint, context text, aggregate text, version bigint,
            PRIMARY KEY (projection, position))",
    );
}

/// What was written down.
pub(crate) struct Journal {
    pub(crate) name: &'static str,
    pub(crate) contexts: Vec<&'static str>,
    /// Positions at which the handler fails.
    pub(crate) poison: Mutex<HashSet<i64>>,
    /// How long each batch takes.
    pub(crate) pause: Duration,
}

impl Journal {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, contexts: Vec::new(), poison: Mutex::default(), pause: Duration::ZERO }
    }

    pub(crate) fn of(name: &'static str, contexts: &[&'static str]) -> Self {
        Self { contexts: contexts.to_vec(), ..Self::new(name) }
    }

    pub(crate) fn failing_at(name: &'static str, positions: &[i64]) -> Self {
        let poison = Mutex::new(positions.iter().copied().collect());
        Self { poison, ..Self::new(name) }
    }
}

impl Projection for Journal {
    fn name(&self) -> &str {
        self.name
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        self.contexts.clone()
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        if self.poison.lock().expect("nobody panicked").contains(&event.global_position) {
            return Err(format!("position {} is poison", event.global_position).into());
        }
        tx.execute(
            "INSERT INTO journal (projection, position, context, aggregate, version)
             VALUES ($1, $2, $3, $4, $5)",
            &[
                &self.name,
                &event.global_position,
                &event.bounded_context,
                &event.aggregate_id,
                &event.aggregate_version,
            ],
        )?;
        Ok(())
    }

    fn handle_batch(&self, tx: &mut Transaction<'_>, events: &[Event]) -> Result<(), HandlerError> {
        std::thread::sleep(self.pause);
        events.iter().try_for_each(|event| self.handle(tx, event))
    }
}

/// The positions that a projection was given, in the order in which it was.
pub(crate) fn positions(db: &TestDatabase, projection: &str) -> Vec<i64> {
    let sql = "SELECT position FROM journal WHERE projection = $1 ORDER BY number";
    let rows = db.client().query(sql, &[&projection]).expect("the journal");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Every event of the store was handled once (the key sees to that), and those of each aggregate in
/// their order.
#[track_caller]
pub(crate) fn assert_whole(db: &TestDatabase, projection: &str) {
    assert_whole_of(db, projection, "%");
}

/// The same for a projection that reads the contexts of this pattern.
#[track_caller]
pub(crate) fn assert_whole_of(db: &TestDatabase, projection: &str, context: &str) {
    let count = |sql: &str| db.client().query_one(sql, &[&projection]).expect("a count");
    let missing: i64 = count(&format!(
        "SELECT count(*) FROM events WHERE bounded_context LIKE '{context}' AND NOT EXISTS (
            SELECT FROM journal WHERE projection = $1 AND position = global_position)",
    ))
    .get(0);
    assert_eq!(missing, 0, "events that were never handled");
    let strange: i64 = count(
        "SELECT count(*) FROM journal WHERE projection = $1 AND NOT EXISTS (
            SELECT FROM events
            WHERE position = global_position AND bounded_context = context
                AND aggregate_id = aggregate AND aggregate_version = version)",
    )
    .get(0);
    assert_eq!(strange, 0, "events that are not there");
    let disordered: i64 = count(
        "SELECT count(*) FROM (
            SELECT position, max(position) OVER (PARTITION BY context, aggregate ORDER BY number
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
            FROM journal WHERE projection = $1) AS handled
         WHERE position < before",
    )
    .get(0);
    assert_eq!(disordered, 0, "events that came after later ones of their aggregate");
}
