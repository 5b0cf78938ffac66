//! Statements that run outside of a transaction.

use crate::support::TestDatabase;
use crate::{migrate, recorded, write};

const INDEX: &str =
    "-- pupctl: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY orders_id ON orders (id);\n";

fn orders(rows: &str) -> TestDatabase {
    let db = TestDatabase::new();
    write(
        &db,
        "V10__orders.sql",
        &format!("CREATE TABLE orders (id int); INSERT INTO orders VALUES {rows}"),
    );
    migrate(&db).success();
    db
}

fn valid(db: &TestDatabase) -> Vec<String> {
    db.texts("SELECT indexrelid::regclass || ' ' || indisvalid FROM pg_index WHERE indrelid = 'public.orders'::regclass")
}

#[test]
fn an_index_is_built_while_writers_go_on() {
    let db = orders("(1)");
    write(&db, "V11__index.sql", INDEX);
    // A transaction that has written keeps a plain build waiting, not this one from beginning.
    migrate(&db).success();
    assert_eq!(valid(&db), ["public.orders_id true"]);
    assert_eq!(recorded(&db), ["10 orders", "11 index"]);
}

#[test]
fn an_invalid_index_of_an_earlier_try_is_replaced() {
    let db = orders("(1), (1)");
    write(&db, "V11__index.sql", INDEX);
    let failed = migrate(&db).failure(1);
    assert!(failed.stderr.contains("migrations/V11__index.sql:2:1"), "{failed}");
    assert!(failed.stderr.contains("SQLSTATE 23505"), "{failed}");
    assert_eq!(valid(&db), ["public.orders_id false"]);
    assert_eq!(recorded(&db), ["10 orders"]);
    db.execute("DELETE FROM orders WHERE ctid = '(0,1)'");
    let done = migrate(&db).success();
    assert!(done.stderr.contains("an interrupted build left unusable"), "{done}");
    assert_eq!(valid(&db), ["public.orders_id true"]);
}

#[test]
fn a_kill_before_it_is_recorded_leaves_nothing_to_do_twice() {
    let db = orders("(1)");
    write(&db, "V11__index.sql", INDEX);
    db.command(["schema", "migrate"]).failpoints("migration::before_record=return").run().killed();
    assert_eq!(valid(&db), ["public.orders_id true"]);
    assert_eq!(recorded(&db), ["10 orders"]);
    let oid: u32 = db.one("SELECT 'orders_id'::regclass::oid");
    migrate(&db).success();
    assert_eq!(db.one::<u32>("SELECT 'orders_id'::regclass::oid"), oid, "it was not built again");
    assert_eq!(recorded(&db), ["10 orders", "11 index"]);
}

#[test]
fn a_build_that_waits_too_long_is_told_and_tried_again() {
    let db = orders("(1)");
    write(&db, "V11__index.sql", INDEX);
    let mut writer = db.client();
    writer.batch_execute("BEGIN; INSERT INTO orders VALUES (2)").expect("a write");
    let late = db.pupctl(["schema", "migrate", "--lock-budget", "300ms"]).failure(5);
    assert!(late.stderr.contains("did not get its locks within 300ms"), "{late}");
    writer.batch_execute("COMMIT").expect("a commit");
    migrate(&db).success();
    assert_eq!(valid(&db), ["public.orders_id true"]);
}

#[test]
fn other_statements_run_too() {
    let db = orders("(1)");
    write(&db, "V11__vacuum.sql", "-- pupctl: no-transaction\nVACUUM (ANALYZE) orders");
    write(
        &db,
        "V12__drop.sql",
        "-- pupctl: no-transaction\nDROP INDEX CONCURRENTLY IF EXISTS nope",
    );
    migrate(&db).success();
    assert_eq!(recorded(&db), ["10 orders", "11 vacuum", "12 drop"]);
    let plan = db.pupctl(["schema", "plan", "-o", "json"]).success().json();
    assert_eq!(plan["pending"], serde_json::json!([]));
}

#[test]
fn a_statement_that_needs_a_file_of_its_own_is_told_so() {
    let db = orders("(1)");
    write(&db, "V11__index.sql", "CREATE INDEX CONCURRENTLY orders_id ON orders (id)");
    let failed = migrate(&db).failure(1);
    assert!(failed.stderr.contains("`-- pupctl: no-transaction`"), "{failed}");
    // The file was never applied, so it may be changed.
    write(&db, "V11__index.sql", INDEX);
    migrate(&db).success();
}
