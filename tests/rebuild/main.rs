//! Read models are made anew while the old ones serve.

#[path = "../support/mod.rs"]
mod support;

mod abort;
mod basics;
mod diff;
mod killed;
mod live;
mod months;
mod objects;

use support::{Output, TestDatabase};

/// A store without partitions, with so many events of so many orders.
pub(crate) fn store(orders: u32, events: u32) -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    append(&db, "order", orders, events);
    db
}

/// Appends so many events to each of so many orders, in an order of their own.
pub(crate) fn append(db: &TestDatabase, prefix: &str, orders: u32, events: u32) {
    db.execute(&format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, event_version, payload, created_at)
         SELECT 'Sales', 'Order', '{prefix}-' || o, v, gen_random_uuid(), 'LineAdded', 1,
            convert_to(jsonb_build_object('amount', o + v)::text, 'UTF8'), now()
         FROM generate_series(1, {events}) AS v, generate_series(1, {orders}) AS o
         ORDER BY v, o"
    ));
}

/// Writes the file of a projection.
pub(crate) fn write(db: &TestDatabase, file: &str, text: &str) {
    let folder = db.folder().join("projections");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(format!("{file}.sql")), text).expect("a file");
}

/// Counts lines.
pub(crate) const COUNTS: &str = "-- name: totals
-- contexts: Sales
-- aggregates: Order
-- slots: 2
-- tables: totals
-- init
CREATE TABLE IF NOT EXISTS totals (id text PRIMARY KEY, lines bigint NOT NULL);
-- handle
INSERT INTO totals AS t SELECT aggregate_id, count(*) FROM batch GROUP BY 1
ON CONFLICT (id) DO UPDATE SET lines = t.lines + excluded.lines;
";

/// Counts lines, and adds amounts up.
pub(crate) const SUMS: &str = "-- name: totals
-- contexts: Sales
-- aggregates: Order
-- slots: 2
-- tables: totals
-- init
CREATE TABLE IF NOT EXISTS totals (
    id text PRIMARY KEY, lines bigint NOT NULL, amount bigint NOT NULL);
-- handle
INSERT INTO totals AS t
SELECT aggregate_id, count(*), sum((pupctl_json(payload) ->> 'amount')::bigint) FROM batch GROUP BY 1
ON CONFLICT (id) DO UPDATE
SET lines = t.lines + excluded.lines, amount = t.amount + excluded.amount;
";

/// What the sums have to be at a position.
pub(crate) fn reference(db: &TestDatabase, position: i64) -> Vec<String> {
    db.texts(&format!(
        "SELECT concat_ws(' ', aggregate_id, count(*),
            sum((convert_from(payload, 'UTF8')::jsonb ->> 'amount')::bigint))
         FROM public.events WHERE global_position <= {position}
         GROUP BY aggregate_id ORDER BY aggregate_id COLLATE \"C\""
    ))
}

/// What they are.
pub(crate) fn sums(db: &TestDatabase) -> Vec<String> {
    let sums =
        "SELECT concat_ws(' ', id, lines, amount) FROM public.totals ORDER BY id COLLATE \"C\"";
    db.texts(sums)
}

/// Runs projections until they have caught up.
pub(crate) fn run(db: &TestDatabase) -> Output {
    db.pupctl(["projections", "run", "--until-caught-up"]).success()
}

pub(crate) const REBUILD: &[&str] = &["projections", "rebuild", "totals", "--yes"];

pub(crate) fn highest(db: &TestDatabase) -> i64 {
    db.one("SELECT max(global_position) FROM events")
}

/// The keys and positions of all rows, as `orders:0/4 12`.
pub(crate) fn positions(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT projection_name || ' ' || last_global_position
         FROM public.projection_checkpoints ORDER BY projection_name COLLATE \"C\"",
    )
}

/// Nothing of a rebuild is left.
#[track_caller]
pub(crate) fn nothing_left(db: &TestDatabase) {
    let schemas = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pupctl\\_rebuild%'";
    assert_eq!(db.texts(schemas), Vec::<String>::new());
    for table in [
        "projection_checkpoints",
        "projection_dead_letters",
        "projection_audit",
        "projection_definitions",
    ] {
        let rows = format!("SELECT count(*) FROM {table} WHERE projection LIKE '%:rebuild'");
        assert_eq!(db.one::<i64>(&rows), 0, "{table}");
    }
}

/// All that the old read model, its checkpoints and what is kept with them say.
pub(crate) fn old(db: &TestDatabase) -> Vec<String> {
    let mut lines = db.texts("SELECT to_jsonb(t)::text FROM public.totals AS t ORDER BY id");
    lines.extend(db.texts(
        "SELECT concat_ws(' ', projection_name, last_global_position, epoch)
         FROM public.projection_checkpoints WHERE projection = 'totals' ORDER BY 1",
    ));
    lines.extend(db.texts(
        "SELECT concat_ws(' ', projection, definition, model_schema)
         FROM public.projection_definitions WHERE projection = 'totals'",
    ));
    lines.extend(db.texts(
        "SELECT concat_ws(' ', block, sum(events), sum(digest)) FROM public.projection_audit
         WHERE projection = 'totals' GROUP BY block ORDER BY block",
    ));
    lines
}
