//! The heap of a converted store, which holds all months before one, and what divides it.

#[path = "../support/mod.rs"]
mod support;

mod basics;
mod beside;
mod interrupted;
mod meanwhile;

use support::{Output, TestDatabase};

/// The keys and indexes that pupsourcing's own schema gives to events.
const KEYS: &str = "PRIMARY KEY (global_position), UNIQUE (event_id),
    UNIQUE (bounded_context, aggregate_type, aggregate_id, aggregate_version)";

const INDEXES: &str = "
    CREATE INDEX ON heap (bounded_context, aggregate_type, aggregate_id, aggregate_version);
    CREATE INDEX ON heap (event_type, global_position);
    CREATE INDEX ON heap (correlation_id) WHERE correlation_id IS NOT NULL;
    CREATE INDEX ON heap USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on)";

/// A store with months ahead whose table `parent` has the partition `heap`, an old table with
/// pupsourcing's keys, for everything before a month so far from the current one.
pub(crate) fn store(by: &str, more: &[&str], parent: &str, before: i32) -> TestDatabase {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", by, "--months", "2"];
    db.pupctl(init.iter().chain(more)).success();
    add_heap(&db, parent, before);
    db
}

/// Puts the heap in the place of the months before.
pub(crate) fn add_heap(db: &TestDatabase, parent: &str, before: i32) {
    for ahead in 0..before {
        let month = db.month(ahead).replace('-', "_");
        db.execute(&format!("DROP TABLE {parent}_{month}"));
    }
    let triggers = db.texts(&format!(
        "SELECT replace(pg_get_triggerdef(oid), tgrelid::regclass::text, 'public.heap')
         FROM pg_catalog.pg_trigger WHERE tgrelid = (
            SELECT inhrelid FROM pg_catalog.pg_inherits
            WHERE inhparent = 'public.{parent}'::regclass LIMIT 1) AND NOT tgisinternal"
    ));
    let bound = bound(db, before);
    db.execute(&format!(
        "CREATE TABLE heap (LIKE events INCLUDING DEFAULTS, {KEYS}); {INDEXES}; {};
         ALTER TABLE {parent} ATTACH PARTITION heap FOR VALUES FROM (MINVALUE) TO ({bound})",
        triggers.join(";")
    ));
}

/// A bound, this far from the current month.
pub(crate) fn bound(db: &TestDatabase, ahead: i32) -> String {
    format!("'{}-01 00:00:00+00'", db.month(ahead))
}

/// Many events of one context, from the first of a month on.
pub(crate) fn fill(db: &TestDatabase, context: &str, month: &str, rows: u32) {
    db.execute(&format!(
        "SET pupctl.maintenance = on;
         INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         SELECT '{context}', 'Order', '{month}-' || n, 1, gen_random_uuid(), 'OrderPlaced', 'x',
            '{month}-01T00:00:00Z'::timestamptz + n * interval '1 second'
         FROM generate_series(1, {rows}) AS n;
         INSERT INTO aggregate_heads
         SELECT '{context}', 'Order', '{month}-' || n, 1 FROM generate_series(1, {rows}) AS n"
    ));
}

/// Splits, waiting for a run that died a moment ago.
pub(crate) fn split(db: &TestDatabase, more: &[&str]) -> Output {
    db.pupctl(["partitions", "split", "--wait", "60s"].iter().chain(more))
}

/// Everything that events hold.
pub(crate) fn all(db: &TestDatabase) -> Vec<String> {
    db.texts("SELECT to_jsonb(event)::text FROM public.events AS event ORDER BY global_position")
}

/// No stage, no table that has left.
#[track_caller]
pub(crate) fn nothing_is_left(db: &TestDatabase) {
    let strays = db.texts(
        "SELECT relname::text FROM pg_catalog.pg_class WHERE relnamespace = 'public'::regnamespace
         AND relkind IN ('r', 'p') AND relname ~ 'split|heap|quarter' ORDER BY 1",
    );
    assert!(strays.is_empty(), "{strays:?}");
    let checks = db.texts(
        "SELECT conname::text FROM pg_catalog.pg_constraint WHERE conname = 'pupctl_bounds'",
    );
    assert!(checks.is_empty(), "{checks:?}");
}
