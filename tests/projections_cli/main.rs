//! Projections are looked at and steered, while workers and other pupctls do what they like.

#[path = "../support/mod.rs"]
mod support;

mod delete;
mod gate;
mod init;
mod killed;
mod look;
mod names;
mod pause;
mod reset;
mod together;

use postgres::Client;
use support::{Append, TestDatabase};

/// A store without partitions.
pub(crate) fn store() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    db
}

/// The same with a projection of so many slots.
pub(crate) fn with_projection(name: &str, slots: u32, more: &[&str]) -> TestDatabase {
    let db = store();
    let slots = slots.to_string();
    let init = ["projections", "init", name, "--slots", &slots];
    db.pupctl(init.iter().chain(more)).success();
    db
}

/// Appends one event to each of so many aggregates of a context.
pub(crate) fn append(db: &TestDatabase, context: &str, aggregates: std::ops::Range<u32>) {
    let mut client = db.client();
    for number in aggregates {
        let id = format!("order-{number}");
        let created_at = "2026-01-01T00:00:00Z";
        Append { context, id: &id, head: None, events: 1, created_at }
            .run(&mut client)
            .expect("an append");
    }
}

/// All that the rows say, apart from times.
pub(crate) fn rows(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT (jsonb_strip_nulls(to_jsonb(row)) - 'updated_at'
            || jsonb_build_object('paused_at', paused_at IS NOT NULL))::text
         FROM public.projection_checkpoints AS row ORDER BY projection_name",
    )
}

/// The keys and positions of all rows, as `orders:0/4 12`.
pub(crate) fn positions(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT projection_name || ' ' || last_global_position
         FROM public.projection_checkpoints ORDER BY projection_name COLLATE \"C\"",
    )
}

/// Puts dead letters of a projection there.
pub(crate) fn add_letters(db: &TestDatabase, projection: &str, number: u32) {
    db.execute(&format!(
        "INSERT INTO projection_dead_letters (projection, global_position, bounded_context,
            aggregate_type, aggregate_id, aggregate_version, event_id, event_type, state)
         SELECT '{}', n, 'Sales', 'Order', 'order-1', n, gen_random_uuid(), 'OrderPlaced',
            CASE n WHEN 1 THEN 'failed' ELSE 'waiting' END
         FROM generate_series(1, {number}) AS n",
        projection.replace('\'', "''")
    ));
}

/// A worker of a projection in the middle of a batch: it has the rows and what it has written.
pub(crate) fn batch(db: &TestDatabase, projection: &str, slots: &str) -> Client {
    let mut client = db.client();
    client
        .batch_execute(&format!(
            "SET application_name = 'pupctl/projection {projection}';
             BEGIN;
             SELECT FROM projection_checkpoints WHERE projection = '{projection}'
                AND slot IN ({slots}) AND paused_at IS NULL FOR UPDATE SKIP LOCKED;
             UPDATE projection_checkpoints SET last_global_position = last_global_position + 1
                WHERE projection = '{projection}' AND slot IN ({slots})"
        ))
        .expect("a batch");
    client
}
