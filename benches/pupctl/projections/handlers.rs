//! The projections that are measured, and the same work in SQL.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use pupctl::projection::{Event, HandlerError, Projection, Transaction};

/// The read models.
pub(crate) const READ_MODELS: &str = "
    CREATE TABLE totals (aggregate_id text PRIMARY KEY, events bigint NOT NULL);
    CREATE TABLE unrelated (number bigint)";

/// One row for each aggregate, for one event.
pub(crate) const UPSERT: &str = "INSERT INTO totals AS t VALUES ($1, 1)
    ON CONFLICT (aggregate_id) DO UPDATE SET events = t.events + 1";

/// The same for the events of a batch.
const UPSERT_MANY: &str =
    "INSERT INTO totals AS t SELECT id, count(*) FROM unnest($1::text[]) AS id
    GROUP BY id ON CONFLICT (aggregate_id) DO UPDATE SET events = t.events + excluded.events";

/// The same as a loop in the server, batch after batch of positions, each with its checkpoint.
pub(crate) fn set_based(batch: usize) -> String {
    format!(
        "DO $$
        DECLARE
            at bigint := 0;
            top bigint := (SELECT max(global_position) FROM events);
        BEGIN
            WHILE at < top LOOP
                INSERT INTO totals AS t
                SELECT aggregate_id, count(*) FROM events
                WHERE global_position > at AND global_position <= at + {batch} GROUP BY 1
                ON CONFLICT (aggregate_id) DO UPDATE SET events = t.events + excluded.events;
                at := at + {batch};
                INSERT INTO projection_checkpoints (projection_name, last_global_position)
                VALUES ('plain', at) ON CONFLICT (projection_name)
                DO UPDATE SET last_global_position = excluded.last_global_position,
                    updated_at = now();
                COMMIT;
            END LOOP;
        END $$"
    )
}

/// Does nothing.
pub(crate) struct Nothing(pub(crate) &'static str);

impl Projection for Nothing {
    fn name(&self) -> &str {
        self.0
    }

    fn handle(&self, _: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        std::hint::black_box(event);
        Ok(())
    }
}

/// An upsert for each event.
pub(crate) struct OneByOne(pub(crate) &'static str);

impl Projection for OneByOne {
    fn name(&self) -> &str {
        self.0
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        tx.execute(UPSERT, &[&event.aggregate_id])?;
        Ok(())
    }
}

/// An upsert for each batch.
pub(crate) struct Together(pub(crate) &'static str);

impl Projection for Together {
    fn name(&self) -> &str {
        self.0
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        self.handle_batch(tx, std::slice::from_ref(event))
    }

    fn handle_batch(&self, tx: &mut Transaction<'_>, events: &[Event]) -> Result<(), HandlerError> {
        let ids: Vec<&str> = events.iter().map(|event| event.aggregate_id.as_str()).collect();
        tx.execute(UPSERT_MANY, &[&ids])?;
        Ok(())
    }
}

/// Notes when each position was handled.
#[derive(Default)]
pub(crate) struct Clock(pub(crate) Mutex<HashMap<i64, Instant>>);

impl Projection for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn handle(&self, _: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        let now = Instant::now();
        self.0.lock().map_err(|_| "a panic")?.insert(event.global_position, now);
        Ok(())
    }
}
