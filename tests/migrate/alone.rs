//! Statements that run outside of a transaction.

use crate::support::{TestDatabase, eventually};
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
fn a_build_waits_for_writers_and_says_for_whom() {
    let db = orders("(1)");
    write(&db, "V11__index.sql", INDEX);
    let mut writer = db.client();
    writer.batch_execute("BEGIN; INSERT INTO orders VALUES (2)").expect("a write");
    let pid: i32 = writer.query_one("SELECT pg_backend_pid()", &[]).expect("a row").get(0);
    // A timeout would leave half an index, so there is none.
    let running = db.command(["schema", "migrate", "--lock-budget", "300ms"]).spawn();
    eventually("the build waits", || {
        db.one(&format!(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))"
        ))
    });
    std::thread::sleep(std::time::Duration::from_secs(1));
    writer.batch_execute("COMMIT").expect("a commit");
    let done = running.wait().success();
    assert!(done.stderr.contains(&format!("Waiting for process {pid} (")), "{done}");
    assert_eq!(valid(&db), ["public.orders_id true"]);
}

#[test]
fn another_index_of_the_name_is_not_the_one() {
    let db = orders("(1)");
    db.execute("ALTER TABLE orders ADD note text; CREATE TABLE taken ()");
    for (there, asked) in [
        ("INDEX i ON orders (id)", "UNIQUE INDEX CONCURRENTLY i ON orders (id)"),
        ("INDEX i ON orders (id)", "INDEX CONCURRENTLY IF NOT EXISTS i ON orders (id, note)"),
        ("INDEX i ON orders (id)", "INDEX CONCURRENTLY i ON orders USING hash (id)"),
        ("INDEX i ON orders (id)", "INDEX CONCURRENTLY i ON orders (id) WHERE note IS NULL"),
        ("INDEX i ON orders (note)", "INDEX CONCURRENTLY i ON orders (lower(note))"),
    ] {
        db.execute(&format!("DROP INDEX IF EXISTS i; CREATE {there}"));
        write(&db, "V11__i.sql", &format!("-- pupctl: no-transaction\nCREATE {asked}"));
        let refused = migrate(&db).failure(1);
        assert!(refused.stderr.contains("public.i is there already"), "{asked}\n{refused}");
        assert!(refused.stderr.contains("migrations/V11__i.sql:2:1"), "{asked}\n{refused}");
        assert_eq!(recorded(&db), ["10 orders"], "{asked}");
    }
    let taken = "CREATE INDEX CONCURRENTLY IF NOT EXISTS taken ON orders (id)";
    write(&db, "V11__i.sql", &format!("-- pupctl: no-transaction\n{taken}"));
    let refused = migrate(&db).failure(1);
    assert!(refused.stderr.contains("no index of public.orders"), "{refused}");
}

#[test]
fn an_index_that_is_there_as_it_is_asked_for_is_the_one() {
    let db = orders("(1)");
    db.execute("ALTER TABLE orders ADD \"Note\" text");
    let asked = "orders (lower(\"Note\") DESC, id) INCLUDE (\"Note\") WITH (fillfactor = 70) \
                 WHERE id > 0 -- why";
    db.execute(&format!("CREATE UNIQUE INDEX \"I\" ON {asked}"));
    let statement = format!("create unique index concurrently \"I\" on public.{asked}");
    write(&db, "V11__i.sql", &format!("-- pupctl: no-transaction\n{statement}"));
    migrate(&db).success();
    assert_eq!(recorded(&db), ["10 orders", "11 i"]);
}

#[test]
fn a_partition_that_an_interrupted_run_detached() {
    let db = orders("(1)");
    db.execute(
        "CREATE TABLE p (x int) PARTITION BY LIST (x);
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
         CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)",
    );
    let detach = |name: &str| {
        format!("-- pupctl: no-transaction\nALTER TABLE p DETACH PARTITION {name} CONCURRENTLY")
    };
    write(&db, "V11__p1.sql", &detach("p1"));
    db.command(["schema", "migrate"]).failpoints("migration::before_record=return").run().killed();
    let done = migrate(&db).success();
    assert!(done.stderr.contains("public.p1 is no partition any more"), "{done}");
    // Half of it: the detaching waits for a reader, and is cancelled there.
    write(&db, "V12__p2.sql", &detach("p2"));
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT FROM p").expect("a reader");
    let running = db.command(["schema", "migrate"]).spawn();
    eventually("half of it is done", || {
        db.one("SELECT count(*) > 0 FROM pg_inherits WHERE inhdetachpending")
    });
    running.signal("INT");
    running.wait().failure(130);
    reader.batch_execute("COMMIT").expect("a commit");
    migrate(&db).success();
    assert_eq!(
        db.one::<i64>("SELECT count(*) FROM pg_inherits WHERE inhparent = 'p'::regclass"),
        0
    );
    assert_eq!(recorded(&db), ["10 orders", "11 p1", "12 p2"]);
}

#[test]
fn a_statement_that_needs_no_file_of_its_own_is_refused() {
    let db = orders("(1)");
    write(&db, "V11__more.sql", "-- pupctl: no-transaction\n\nINSERT INTO orders VALUES (2)");
    let refused = migrate(&db).failure(2);
    assert!(refused.stderr.contains("V11__more.sql:3: INSERT needs no file"), "{refused}");
    assert!(refused.stderr.contains("ALTER TYPE … ADD VALUE"), "{refused}");
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
