//! Killed at every point, and run again.

#![cfg(feature = "failpoints")]

use crate::support::TestDatabase;
use crate::{drain, fill, nothing_is_left, rows, store};

const POINTS: &[(&str, usize)] = &[
    ("operation::started", 1),
    ("execute::before_commit", 5),
    ("execute::after_step", 5),
    ("transfer::copied", 2),
    ("transfer::tail_copied", 1),
    ("transfer::before_commit", 1),
    ("transfer::exchanged", 1),
    ("transfer::proven", 1),
    ("operation::before_end", 1),
];

fn filled() -> TestDatabase {
    let more = ["--contexts", "A", "--event-ids", "--immutable"];
    let db = store("context,month", &more, &["events", "aggregate_heads"]);
    fill(&db, "B", &db.month(-1), 11_000);
    fill(&db, "Shop", &db.month(0), 10);
    db
}

#[test]
fn the_next_run_finishes_what_was_begun() {
    let undisturbed = filled();
    drain(&undisturbed, &["--add-contexts"]).success();
    for (point, times) in POINTS {
        for passed in 0..*times {
            let db = filled();
            let all = rows(&db);
            let action = if passed == 0 { String::new() } else { format!("{passed}*off->") };
            let points = format!("{point}={action}return");
            let run =
                db.command(["partitions", "drain", "--add-contexts"]).failpoints(&points).run();
            let run = run.killed();
            assert!(rows(&db) == all, "{points}: rows are missing or doubled after the kill");
            let again = drain(&db, &["--add-contexts"]).success();
            assert!(rows(&db) == all, "{points}: rows are missing or doubled");
            assert_eq!(
                db.tree("public.events"),
                undisturbed.tree("public.events"),
                "{points}\n{run}\n{again}"
            );
            assert_eq!(
                db.tree("public.aggregate_heads"),
                undisturbed.tree("public.aggregate_heads")
            );
            nothing_is_left(&db);
            let told = drain(&db, &["--add-contexts"]).success();
            assert!(told.stderr.contains("Nothing to do"), "{points}\n{told}");
            db.pupctl(["schema", "verify"]).success();
        }
    }
}
