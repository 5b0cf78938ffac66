//! Every layout that can have a DEFAULT partition.

use insta::assert_snapshot;

use crate::support::TestDatabase;
use crate::{add_default, append, drain, fill, nothing_is_left, rows, store};

fn in_default(db: &TestDatabase, table: &str) -> i64 {
    db.one(&format!("SELECT count(*) FROM {table}_default"))
}

/// The tree of a table; DEFAULT has no bounds to show.
fn tree(db: &TestDatabase, table: &str) -> String {
    db.tree(table).replace(" \n", "\n")
}

#[test]
fn months_get_their_partitions() {
    let db = store("month", &["--immutable", "--event-ids"], &["events"]);
    let (before, next) = (db.month(-2), db.month(1));
    fill(&db, "A", &before, 300);
    fill(&db, "B", &next, 200);
    append(&db, "A", "now");
    let all = rows(&db);
    let told = drain(&db, &[]).success();
    assert!(told.stderr.contains("Done: 500 rows moved out of 1 DEFAULT partition"), "{told}");
    assert_eq!(rows(&db), all);
    assert_eq!(in_default(&db, "events"), 0);
    assert_snapshot!(tree(&db, "public.events"), @"
    events BY RANGE (created_at)
      events_default
      events_m-2 FROM (<m-2>) TO (<m-1>)
      events_m0 FROM (<m0>) TO (<m1>)
      events_m1 FROM (<m1>) TO (<m2>)
    ");
    nothing_is_left(&db);
    // The new partitions are as those that are made in advance.
    let check = db.pupctl(["partitions", "check", "-o", "json"]).success().json();
    let findings = check["findings"].as_array().expect("a list");
    let checks: Vec<_> = findings.iter().map(|finding| &finding["check"]).collect();
    assert_eq!(checks, ["gap"], "{check}");
    db.pupctl(["schema", "verify"]).success();
    // A version or an id that is stored does not come again, and what is written stays.
    let id: String = db.one("SELECT event_id::text FROM events LIMIT 1");
    let again = crate::insert("events", "A", &id, "now");
    assert!(db.client().batch_execute(&again).is_err());
    let leaf = format!("events_{}", before.replace('-', "_"));
    assert!(db.client().batch_execute(&format!("DELETE FROM {leaf}")).is_err());
    // Once more.
    let told = drain(&db, &[]).success();
    assert!(told.stderr.contains("Nothing to do: no DEFAULT partition has rows"), "{told}");
}

#[test]
fn unknown_contexts_stay_until_they_are_added() {
    let db = store("context", &["--contexts", "A"], &["events", "aggregate_heads"]);
    for context in ["O'Neill", "Shop", " odd "] {
        fill(&db, context, &db.month(0), 50);
    }
    let all = rows(&db);
    let told = drain(&db, &[]).success();
    assert!(told.stderr.contains("Nothing to do: what DEFAULT partitions have stays"), "{told}");
    assert!(told.stderr.contains("the layout does not know it: --add-contexts"), "{told}");
    let told = drain(&db, &["--add-contexts", "-o", "json"]).success();
    let report = told.json();
    assert_eq!(report["contexts"], serde_json::json!(["O'Neill", "Shop"]), "{told}");
    assert_eq!(report["drained"][0]["table"], "heads", "{told}");
    assert_eq!(report["drained"][1]["rows"], 100, "{told}");
    assert_eq!(report["left"][1]["rows"], 50, "{told}");
    assert_eq!(rows(&db), all);
    assert_eq!((in_default(&db, "events"), in_default(&db, "aggregate_heads")), (50, 50));
    assert_snapshot!(tree(&db, "public.events"), @"
    events BY LIST (bounded_context)
      events_default
      events_a IN ('A')
      events_o_neill IN ('O''Neill')
      events_shop IN ('Shop')
    ");
    assert_snapshot!(tree(&db, "public.aggregate_heads"), @"
    aggregate_heads BY LIST (bounded_context)
      aggregate_heads_default
      aggregate_heads_a IN ('A')
      aggregate_heads_o_neill IN ('O''Neill')
      aggregate_heads_shop IN ('Shop')
    ");
    nothing_is_left(&db);
    let told = drain(&db, &["--add-contexts"]).success();
    assert!(told.stderr.contains("Nothing to do"), "{told}");
}

#[test]
fn new_contexts_get_all_their_months_and_heads() {
    let db = store("context,month", &["--contexts", "A"], &["events"]);
    fill(&db, "A", &db.month(0), 1);
    let heads = "CREATE TABLE aggregate_heads_b PARTITION OF aggregate_heads FOR VALUES IN ('B')";
    db.execute(heads);
    fill(&db, "B", &db.month(-3), 20);
    fill(&db, "B", &db.month(-1), 20);
    let all = rows(&db);
    drain(&db, &["--add-contexts"]).success();
    assert_eq!(rows(&db), all);
    assert_snapshot!(tree(&db, "public.events"), @"
    events BY LIST (bounded_context)
      events_default
      events_a IN ('A') BY RANGE (created_at)
        events_a_m0 FROM (<m0>) TO (<m1>)
      events_b IN ('B') BY RANGE (created_at)
        events_b_m-3 FROM (<m-3>) TO (<m-2>)
        events_b_m-2 FROM (<m-2>) TO (<m-1>)
        events_b_m-1 FROM (<m-1>) TO (<m0>)
        events_b_m0 FROM (<m0>) TO (<m1>)
    ");
    nothing_is_left(&db);
    db.pupctl(["schema", "verify"]).success();
}

#[test]
fn a_default_below_a_branch() {
    let db = store("context,month", &["--contexts", "A,B"], &["events_a"]);
    fill(&db, "A", &db.month(-1), 120);
    db.execute("INSERT INTO aggregate_heads VALUES ('A', 'Order', 'never', 1)");
    // Not even a month that ends all months takes it.
    append(&db, "A", "infinity");
    let all = rows(&db);
    let told = drain(&db, &[]).success();
    assert!(told.stderr.contains("1 row of times stay"), "{told}");
    assert_eq!(rows(&db), all);
    assert_eq!(in_default(&db, "events_a"), 1);
    assert_snapshot!(tree(&db, "public.events"), @"
    events BY LIST (bounded_context)
      events_a IN ('A') BY RANGE (created_at)
        events_a_default
        events_a_m-1 FROM (<m-1>) TO (<m0>)
        events_a_m0 FROM (<m0>) TO (<m1>)
      events_b IN ('B') BY RANGE (created_at)
        events_b_m0 FROM (<m0>) TO (<m1>)
    ");
    nothing_is_left(&db);
}

#[test]
fn columns_of_the_user_come_along() {
    let db = store("month", &[], &[]);
    db.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'happy');
         ALTER TABLE events ADD COLUMN tenant numeric, ADD COLUMN tags text[], ADD COLUMN mood mood,
            ADD COLUMN twice bigint GENERATED ALWAYS AS (aggregate_version * 2) STORED",
    );
    add_default(&db, "events");
    fill(&db, "A", &db.month(-1), 10);
    db.execute("UPDATE events SET tenant = 1.50, tags = '{a,NULL}', mood = 'happy', metadata = '{\"n\": 1e400}'");
    let all = rows(&db);
    drain(&db, &[]).success();
    assert_eq!(rows(&db), all);
    assert_eq!(in_default(&db, "events"), 0);
}

#[test]
fn a_dry_run_says_what_would_be_done() {
    let db = store("month", &["--event-ids"], &["events"]);
    let month = db.month(-1);
    fill(&db, "A", &month, 10);
    let before = crate::support::fingerprint(&mut db.client());
    let told = drain(&db, &["--dry-run", "--no-analyze"]).success();
    assert_eq!(crate::support::fingerprint(&mut db.client()), before);
    assert!(told.stderr.contains("Dry run: 10 rows of 1 DEFAULT partition"), "{told}");
    let sql = told.stdout.replace(&month, "<m>").replace(&db.month(0), "<n>");
    assert_snapshot!(sql.replace(&month.replace('-', "_"), "<_m>"));
    // psql runs it as it is.
    let all = rows(&db);
    let file = db.folder().join("drain.sql");
    std::fs::write(&file, &told.stdout).expect("a file");
    db.psql(["-f", "drain.sql"]).success();
    assert_eq!(rows(&db), all);
    assert_eq!(in_default(&db, "events"), 0);
    nothing_is_left(&db);
}
