//! Appends as pupsourcing's Go store does: the head is read, every event is one INSERT, the head
//! is moved by an upsert, all in one transaction.

use std::sync::atomic::{AtomicU64, Ordering};

use postgres::Client;

const READ_HEAD: &str = "SELECT aggregate_version FROM aggregate_heads
    WHERE bounded_context = $1 AND aggregate_type = $2 AND aggregate_id = $3";

// The parameters are cast because the driver of these tests sends them typed.
const INSERT_EVENT: &str = "INSERT INTO events (
        bounded_context, aggregate_type, aggregate_id, aggregate_version, event_id, event_type,
        event_version, payload, trace_id, correlation_id, causation_id, metadata, created_at)
    VALUES ($1, $2, $3, $4, $5::text::uuid, $6, $7, $8, $9, $10, $11, $12::text::jsonb,
        $13::text::timestamptz)
    RETURNING global_position";

const MOVE_HEAD: &str = "INSERT INTO aggregate_heads (
        bounded_context, aggregate_type, aggregate_id, aggregate_version, updated_at)
    VALUES ($1, $2, $3, $4, NOW())
    ON CONFLICT (bounded_context, aggregate_type, aggregate_id)
    DO UPDATE SET aggregate_version = $4, updated_at = NOW()";

/// A writer's next events of one aggregate.
#[derive(Debug, Clone, Copy)]
pub struct Append<'a> {
    /// The bounded context.
    pub context: &'a str,
    /// The aggregate's id; its type is `Order`.
    pub id: &'a str,
    /// The version that the writer read from the head; `None` reads it.
    pub head: Option<i64>,
    /// How many events.
    pub events: i64,
    /// The client's clock.
    pub created_at: &'a str,
}

impl Append<'_> {
    /// Appends and commits. The positions of the events.
    pub fn run(self, client: &mut Client) -> Result<Vec<i64>, postgres::Error> {
        let Self { context, id, head, events, created_at } = self;
        let kind = "Order";
        let mut transaction = client.transaction()?;
        let read = transaction.query_opt(READ_HEAD, &[&context, &kind, &id])?;
        let head = head.unwrap_or_else(|| read.map_or(0, |row| row.get(0)));
        let mut positions = Vec::new();
        for version in head + 1..=head + events {
            let none: Option<&str> = None;
            let row = transaction.query_one(
                INSERT_EVENT,
                &[
                    &context,
                    &kind,
                    &id,
                    &version,
                    &event_id(),
                    &"OrderPlaced",
                    &1_i32,
                    &b"{}".as_slice(),
                    &none,
                    &none,
                    &none,
                    &"{}",
                    &created_at,
                ],
            )?;
            positions.push(row.get(0));
        }
        transaction.execute(MOVE_HEAD, &[&context, &kind, &id, &(head + events)])?;
        transaction.commit()?;
        Ok(positions)
    }
}

/// An id that no other event of this process has.
pub fn event_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:032x}", NEXT.fetch_add(1, Ordering::Relaxed))
}
