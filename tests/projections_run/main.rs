//! `pupctl projections run`: read models of files, kept up to date whatever happens.

#[path = "../support/mod.rs"]
mod support;

mod files;
mod follows;
mod killed;
mod poison;
mod writes;

use std::fs;

use support::{Append, TestDatabase};

/// How many lines each order has.
pub(crate) const TOTALS: &str = "\
-- name: order_totals
-- contexts: Sales
-- aggregates: Order
-- slots: 4
-- tables: order_totals
-- init
CREATE TABLE IF NOT EXISTS order_totals (order_id text PRIMARY KEY, lines bigint NOT NULL);
-- handle
INSERT INTO order_totals AS t SELECT aggregate_id, count(*) FROM batch GROUP BY 1
ON CONFLICT (order_id) DO UPDATE SET lines = t.lines + excluded.lines;
";

/// A store without partitions.
pub(crate) fn store() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    db
}

/// The same with a file of a projection.
pub(crate) fn store_with(text: &str) -> TestDatabase {
    let db = store();
    file(&db, "order_totals.sql", text);
    db
}

/// Puts a file into the folder of projections.
pub(crate) fn file(db: &TestDatabase, name: &str, text: &str) {
    let folder = db.folder().join("projections");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(name), text).expect("a file");
}

/// Appends so many events, in turn to ten orders.
pub(crate) fn append(db: &TestDatabase, context: &str, events: u32) {
    let mut client = db.client();
    for number in 0..events {
        let id = format!("o-{}", number % 10);
        let created_at = "2026-01-01T00:00:00Z";
        Append { context, id: &id, head: None, events: 1, created_at }
            .run(&mut client)
            .expect("an append");
    }
}

/// The arguments that let all projections catch up.
pub(crate) const CATCH_UP: [&str; 3] = ["projections", "run", "--until-caught-up"];

/// The read model, as `o-1 3`, in order.
pub(crate) fn totals(db: &TestDatabase) -> Vec<String> {
    texts(db, "SELECT order_id || ' ' || lines FROM order_totals ORDER BY 1")
}

/// The same, counted from the events.
pub(crate) fn reference(db: &TestDatabase) -> Vec<String> {
    texts(
        db,
        "SELECT aggregate_id || ' ' || count(*) FROM events
         WHERE bounded_context = 'Sales' GROUP BY aggregate_id ORDER BY 1",
    )
}

/// The texts of a query, where names mean what they mean to everybody.
pub(crate) fn texts(db: &TestDatabase, sql: &str) -> Vec<String> {
    let rows = db.client().query(sql, &[]).unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    rows.iter().map(|row| row.get(0)).collect()
}
