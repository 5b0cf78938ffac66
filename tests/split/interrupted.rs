//! Killed at every point, and run again; called off.

#![cfg(feature = "failpoints")]

use crate::support::TestDatabase;
use crate::{all, fill, nothing_is_left, split, store};

const POINTS: &[(&str, usize)] = &[
    ("operation::started", 1),
    ("execute::before_commit", 2),
    ("execute::after_step", 2),
    ("transfer::chunk_copied", 2),
    ("transfer::completed", 2),
    ("transfer::copied", 1),
    ("transfer::tail_copied", 1),
    ("transfer::before_commit", 1),
    ("transfer::exchanged", 1),
    ("transfer::proven", 1),
    ("operation::before_end", 1),
];

fn filled() -> TestDatabase {
    let db = store("month", &["--event-ids", "--immutable"], "events", 1);
    fill(&db, "A", &db.month(-2), 25_000);
    fill(&db, "A", &db.month(0), 20_000);
    db
}

#[test]
fn the_next_run_finishes_what_was_begun() {
    let prepared = filled();
    let rows = all(&prepared);
    let undisturbed = TestDatabase::copy_of(&prepared);
    split(&undisturbed, &["heap"]).success();
    for (point, times) in POINTS {
        for passed in 0..*times {
            let db = TestDatabase::copy_of(&prepared);
            let action = if passed == 0 { String::new() } else { format!("{passed}*off->") };
            let points = format!("{point}={action}return");
            let run = db.command(["partitions", "split", "heap"]).failpoints(&points).run();
            let run = run.killed();
            assert!(all(&db) == rows, "{points}: rows are missing or doubled after the kill");
            let again = split(&db, &["heap"]).success();
            assert!(all(&db) == rows, "{points}: rows are missing or doubled");
            assert_eq!(db.dump(), undisturbed.dump(), "{points}\n{run}\n{again}");
            nothing_is_left(&db);
            let told = split(&db, &["heap"]).success();
            assert!(told.stderr.contains("Nothing to do"), "{points}\n{told}");
            db.pupctl(["schema", "verify"]).success();
        }
    }
}

#[test]
fn one_that_is_kept_is_kept_by_the_next_run_too() {
    let db = filled();
    for point in ["transfer::exchanged", "transfer::proven"] {
        let db = TestDatabase::copy_of(&db);
        let run = db.command(["partitions", "split", "heap", "--keep"]);
        let _ = run.failpoints(&format!("{point}=return")).run().killed();
        db.pupctl(["partitions", "drain", "--wait", "60s"]).success();
        let told = split(&db, &["heap"]).success();
        assert!(told.stderr.contains("finished an earlier split"), "{told}");
        let left = db.texts("SELECT obj_description('public.heap_before_split'::regclass)");
        assert_eq!(left, ["pupctl: every row is in the months of public.events"]);
    }
}

#[test]
fn rows_that_were_changed_after_they_were_copied_are_noticed() {
    let db = filled();
    let _ = db
        .command(["partitions", "split", "heap"])
        .failpoints("transfer::completed=return")
        .run()
        .killed();
    let check = db.pupctl(["partitions", "check", "-o", "json"]).success().json();
    let findings = check["findings"].as_array().expect("findings");
    let begun = findings.iter().find(|finding| finding["check"] == "unfinished_branch");
    assert_eq!(begun.expect("the stage")["remedy"], "pupctl partitions split heap");
    db.execute(
        "SET pupctl.maintenance = on; ALTER TABLE heap DISABLE TRIGGER USER;
         UPDATE heap SET payload = 'y' WHERE global_position = 17;
         ALTER TABLE heap ENABLE TRIGGER USER",
    );
    let rows = all(&db);
    let told = split(&db, &["heap"]).failure(1);
    assert!(told.stderr.contains("rows of public.heap were changed"), "{told}");
    assert!(told.stderr.contains("pupctl operations abort heap:split"), "{told}");
    assert!(all(&db) == rows);
    db.pupctl(["operations", "abort", "heap:split"]).success();
    assert!(!db.one::<bool>("SELECT to_regclass('events_split') IS NOT NULL"));
    db.pupctl(["operations", "abort", "heap:split"]).failure(1);
    split(&db, &["heap"]).success();
    assert!(all(&db) == rows);
    nothing_is_left(&db);
}

#[test]
fn an_event_of_a_month_of_long_ago_comes_while_rows_are_copied() {
    let db = filled();
    let run = db.command(["partitions", "split", "heap"]);
    let _ = run.failpoints("transfer::completed=return").run().killed();
    fill(&db, "B", "1990-05", 1);
    let rows = all(&db);
    split(&db, &["heap"]).success();
    assert!(all(&db) == rows);
    let tree = db.tree("public.events");
    assert!(tree.contains("events_1990_05 FROM") && tree.contains("events_m0 FROM"), "{tree}");
    nothing_is_left(&db);
    db.pupctl(["schema", "verify"]).success();
}

#[test]
fn ctrl_c_ends_it_between_two_chunks() {
    let db = filled();
    let rows = all(&db);
    let run = db.command(["partitions", "split", "heap", "--max-rate", "10000"]).spawn();
    crate::support::eventually("rows are copied", || {
        db.one::<bool>("SELECT to_regclass('events_split') IS NOT NULL")
            && db.one::<i64>("SELECT count(*) FROM events_split") > 0
    });
    run.signal("INT");
    let told = run.wait().failure(130);
    assert!(told.stderr.contains("run the command again to go on"), "{told}");
    assert!(all(&db) == rows);
    split(&db, &["heap"]).success();
    assert!(all(&db) == rows);
    nothing_is_left(&db);
}

#[test]
fn the_journal_knows_how_to_go_on() {
    let db = filled();
    let _ = db
        .command(["partitions", "split", "heap", "--jobs", "1", "--max-rate", "1000000"])
        .failpoints("transfer::chunk_copied=return")
        .run()
        .killed();
    let id: i64 = db.one("SELECT max(id) FROM pupctl_operations");
    let rows = all(&db);
    let told = db.pupctl(["operations", "resume", &id.to_string(), "--wait", "60s"]).success();
    assert!(told.stderr.contains("Done: 45000 rows"), "{told}");
    assert!(all(&db) == rows);
    nothing_is_left(&db);
}
