//! `pupctl projections new`.

use std::fs;

use insta::assert_snapshot;

use crate::support::{Pupctl, TestDatabase};
use crate::{read, write};

const EVENTS: &str = "\
{\"event_type\": \"LineAdded\", \"aggregate_id\": \"o-1\"}
{\"event_type\": \"LineRemoved\", \"aggregate_id\": \"o-1\"}
{\"event_type\": \"LineAdded\", \"aggregate_id\": \"o-2\"}
";

fn new(db: &TestDatabase, arguments: &[&str]) -> Pupctl {
    let first = ["projections", "new"];
    // It needs no server.
    db.command(first.iter().chain(arguments)).without_env("PUPCTL_DATABASE_URL")
}

#[test]
fn what_it_writes_works_as_it_is() {
    let db = TestDatabase::new();
    let ways: [(&str, &[&str]); 4] = [
        ("everything", &[]),
        ("sales", &["--contexts", "Sales", "--table", "sales of \"today\""]),
        ("orders", &["--aggregates", "Order", "--slots", "8"]),
        ("user", &["--contexts", "Sales", "--aggregates", "Order"]),
    ];
    for (name, options) in ways {
        let arguments: Vec<_> = [name].iter().chain(options).copied().collect();
        let told = new(&db, &arguments).run().success();
        assert_eq!(told.stdout, "");
        assert!(told.stderr.contains(&format!("wrote projections/{name}.sql")), "{told}");
    }
    write(&db, "events.ndjson", EVENTS);
    for (name, _) in ways {
        let test = ["projections", "test", name, "--given", "events.ndjson", "-o", "json"];
        let report = db.pupctl(test).success().json();
        let trial = &report["trials"][0];
        assert_eq!(trial["tables"][0]["rows"], 2, "{report}");
        let table = trial["tables"][0]["table"].as_str().expect("a name");
        assert_eq!(trial["rows"][table][0]["events"], 2, "{report}");
        assert_eq!(trial["rows"][table][0]["last_event_type"], "LineRemoved");
    }
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    db.pupctl(["projections", "run", "--until-caught-up"]).success();
    let slots = "SELECT count(*) FROM projection_checkpoints WHERE projection = 'orders'";
    assert_eq!(db.one::<i64>(slots), 8);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM \"sales of \"\"today\"\"\""), 0);
}

#[test]
fn a_dry_run_prints_the_file() {
    let db = TestDatabase::new();
    let told = new(&db, &["order_totals", "--contexts", "Sales", "--dry-run"]).run().success();
    assert!(told.stdout.starts_with("-- name: order_totals\n-- contexts: Sales\n"), "{told}");
    assert!(!db.folder().join("projections").exists());
    let json = new(&db, &["order_totals", "--dry-run", "-o", "json"]).run().success().json();
    assert_eq!(json["file"], "projections/order_totals.sql");
    assert!(json["text"].as_str().is_some_and(|text| text.ends_with(";\n")));
}

#[test]
fn nothing_is_overwritten() {
    let db = TestDatabase::new();
    new(&db, &["order_totals"]).run().success();
    let before = read(&db, "projections/order_totals.sql");
    for more in [&["order_totals"][..], &["order_totals", "--dry-run"]] {
        let refused = new(&db, more).run().failure(1);
        assert!(refused.stderr.contains("projections/order_totals.sql is there already"));
    }
    assert_eq!(read(&db, "projections/order_totals.sql"), before);
    // A name that two files would have, and a table that two would fill.
    write(&db, "projections/other.sql", &before);
    fs::remove_file(db.folder().join("projections/order_totals.sql")).expect("removed");
    let refused = new(&db, &["order_totals"]).run().failure(2);
    assert!(refused.stderr.contains("two files are called order_totals"), "{refused}");
    let refused = new(&db, &["again", "--table", "order_totals"]).run().failure(2);
    assert!(refused.stderr.contains("both fill the table order_totals"), "{refused}");
}

#[test]
fn of_two_at_once_one_writes() {
    let db = TestDatabase::new();
    let running: Vec<_> = (0..4).map(|_| new(&db, &["order_totals"]).spawn()).collect();
    let codes: Vec<_> = running.into_iter().map(|process| process.wait().code).collect();
    let of = |wanted| codes.iter().filter(|code| **code == Some(wanted)).count();
    assert_eq!((of(0), of(1)), (1, 3), "{codes:?}");
    let files = fs::read_dir(db.folder().join("projections")).expect("the folder").count();
    assert_eq!(files, 1);
}

#[cfg(feature = "failpoints")]
#[test]
fn one_that_is_killed_leaves_no_half_file() {
    let db = TestDatabase::new();
    let killed = new(&db, &["order_totals"]).failpoints("projections::before_file=return");
    killed.run().killed();
    assert!(!db.folder().join("projections/order_totals.sql").exists());
    new(&db, &["order_totals"]).run().success();
}

#[test]
fn names_that_cannot_be_are_refused() {
    let db = TestDatabase::new();
    let told = |arguments: &[&str]| {
        let refused = new(&db, arguments).run().failure(2);
        refused.stderr.lines().map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(told(&["../order"]), @r#"
    error: "../order" is no name of a file
    hint: choose a short name like order_totals
    "#);
    assert_snapshot!(told(&["batch"]), @r#"
    error: batch is where the events are
      batch.sql:2:12
      2 | -- tables: "batch"
        |            ^
    hint: call the table otherwise
    "#);
    assert_snapshot!(told(&["orders", "--slots", "5000"]), @"
    error: a projection cannot have 5000 slots
      orders.sql:2:11
      2 | -- slots: 5000
        |           ^
    hint: choose a number from 1 to 1024, best a power of two
    ");
}
