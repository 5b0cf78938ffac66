//! Projections that do not follow the events.

use crate::store::append;
use crate::support::TestDatabase;
use crate::{NOTHING, found_with, mend};

/// Divides by what an aggregate is called.
const FILE: &str = "-- name: shares
-- tables: shares
-- init
CREATE TABLE IF NOT EXISTS shares (id text PRIMARY KEY, share integer NOT NULL);
-- handle
INSERT INTO shares SELECT aggregate_id, 12 / aggregate_id::integer FROM batch
ON CONFLICT (id) DO NOTHING;
";

const AT_ONCE: [&str; 2] = ["--patience", "0s"];

fn store() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "-q", "--partition-by", "none"]).success();
    std::fs::create_dir(db.folder().join("projections")).expect("a folder");
    std::fs::write(db.folder().join("projections/shares.sql"), FILE).expect("a file");
    db
}

fn run(db: &TestDatabase, more: &[&str]) -> crate::support::Output {
    db.pupctl(["projections", "run", "-q", "--until-caught-up"].iter().chain(more))
}

#[test]
fn one_that_stands_still_fails_or_is_paused() {
    let db = store();
    append(&db, "A", "3");
    run(&db, &[]).success();
    assert_eq!(found_with(&db, &AT_ONCE), NOTHING);

    append(&db, "A", "4");
    assert_eq!(found_with(&db, &AT_ONCE), ["warning projection_stopped shares"]);
    // Some minutes are nothing.
    assert_eq!(found_with(&db, &[]), NOTHING);
    db.pupctl(["projections", "pause", "shares", "--yes"]).success();
    assert_eq!(found_with(&db, &AT_ONCE), ["notice projection_paused shares"]);
    mend(&db, "projection_paused", &AT_ONCE);
    run(&db, &[]).success();
    assert_eq!(found_with(&db, &AT_ONCE), NOTHING);

    append(&db, "A", "0");
    run(&db, &[]).failure(1);
    assert_eq!(found_with(&db, &AT_ONCE), ["error projection_failing shares"]);
    run(&db, &["--on-error", "park"]).success();
    assert_eq!(found_with(&db, &AT_ONCE), ["warning dead_letters shares"]);
    db.pupctl(["projections", "dead-letters", "discard", "shares", "--all", "--yes"]).success();
    assert_eq!(found_with(&db, &AT_ONCE), NOTHING);
}

#[test]
fn one_of_another_library_that_nobody_runs() {
    let db = store();
    append(&db, "A", "1");
    db.execute("INSERT INTO projection_checkpoints VALUES ('old', 1, now() - interval '1 day')");
    assert_eq!(found_with(&db, &[]), ["warning projection_stopped old"]);
    db.execute("UPDATE projection_checkpoints SET last_global_position = 7");
    assert_eq!(found_with(&db, &[]), ["error sequence_behind public.events_global_position_seq"]);
    db.pupctl(["projections", "delete", "old", "--foreign", "--yes"]).success();
    assert_eq!(found_with(&db, &[]), NOTHING);
}
