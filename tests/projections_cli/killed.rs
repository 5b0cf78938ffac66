//! Killed before the commit: nothing was done. Run again: all of it.

#![cfg(feature = "failpoints")]

use crate::support::{TestDatabase, eventually};
use crate::{add_letters, rows, with_projection};

const COMMANDS: [&[&str]; 6] = [
    &["init", "more", "--slots", "4"],
    &["init", "orders", "--tables", "totals,lines"],
    &["pause", "--all"],
    &["reset", "orders", "--truncate", "--yes"],
    &["delete", "orders", "--yes"],
    &["delete", "orders", "--read-model", "--yes", "--wait", "60s"],
];

fn prepared() -> TestDatabase {
    let db = with_projection("orders", 4, &["--tables", "totals"]);
    db.execute("CREATE TABLE totals AS SELECT 1 AS id");
    add_letters(&db, "orders", 2);
    db.execute("UPDATE projection_checkpoints SET events_handled = 7");
    db
}

/// All that these commands may change.
fn state(db: &TestDatabase) -> Vec<String> {
    let mut state = rows(db);
    state.push(db.one("SELECT count(*) || ' letters' FROM projection_dead_letters"));
    state.push(db.one::<String>("SELECT coalesce(to_regclass('totals')::text, 'dropped')"));
    if state.last().is_some_and(|table| table == "totals") {
        state.push(db.one("SELECT count(*) || ' rows' FROM totals"));
    }
    state
}

#[test]
fn a_kill_before_the_commit_leaves_everything_as_it_was() {
    let prepared = prepared();
    for command in COMMANDS {
        let db = TestDatabase::copy_of(&prepared);
        let before = state(&db);
        let undisturbed = TestDatabase::copy_of(&prepared);
        undisturbed.pupctl(["projections"].iter().chain(command)).success();

        let run = db.command(["projections"].iter().chain(command));
        run.failpoints("projections::before_commit=return").run().killed();
        assert_eq!(state(&db), before, "{command:?}");
        // The server may still be busy with the end of the session, which the next run waits for.
        db.pupctl(["projections"].iter().chain(command)).success();
        assert_eq!(state(&db), state(&undisturbed), "{command:?}");
        assert_ne!(state(&db), before, "{command:?}");
    }
}

#[test]
fn a_server_that_goes_away_is_told() {
    let db = prepared();
    let before = state(&db);
    let pause = db
        .command(["projections", "pause", "orders"])
        .failpoints("projections::before_commit=sleep(2000)")
        .spawn();
    let at_work = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'pupctl/projections pause' AND state = 'idle in transaction'
        AND query LIKE 'UPDATE%'";
    eventually("it is before its commit", || db.one::<i64>(at_work) == 1);
    db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'pupctl/projections pause' AND datname = current_database()",
    );
    let failed = pause.wait().failure(1);
    assert!(!failed.stderr.contains("db error"), "{failed}");
    assert_eq!(state(&db), before);
}
