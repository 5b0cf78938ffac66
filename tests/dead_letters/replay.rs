//! What is asked for, and what workers make of it.

use crate::support::{TestDatabase, eventually};
use crate::{Workers, append, asked, handled, letters, parked, state, states, work};

fn mend(db: &TestDatabase) {
    db.execute("DELETE FROM poison");
}

#[test]
fn all_are_handled_in_their_order() {
    for slots in [1, 4] {
        let db = parked(slots);
        mend(&db);
        append(&db, "0");
        let done = letters(&db, &["replay", "orders", "--all"]).success();
        assert!(done.stderr.contains("Done: 5 dead letters asked for"), "{done}");
        assert!(done.stderr.contains("no worker of orders is connected"), "{done}");
        assert_eq!(asked(&db), ["4", "7", "8", "10", "11"]);
        let again = letters(&db, &["replay", "orders", "--all"]).success();
        assert!(
            again.stderr.contains("Nothing to do: 5 dead letters asked for already"),
            "{again}"
        );
        work(&db, "orders", slots);
        assert_eq!(states(&db), Vec::<String>::new());
        // The event that came since is behind those that were parked before it.
        assert_eq!(handled(&db, "0"), ["1", "4", "7", "10", "13"]);
        assert_eq!(handled(&db, "1"), ["2", "5", "8", "11"]);
        let again = letters(&db, &["replay", "orders", "--all"]).success();
        assert!(again.stderr.contains("Nothing to do: no dead letter of orders"), "{again}");
    }
}

#[test]
fn those_of_an_aggregate_and_no_others() {
    let db = parked(4);
    mend(&db);
    letters(&db, &["replay", "orders", "--aggregate", "Sales/Order/1"]).success();
    assert_eq!(asked(&db), ["8", "11"]);
    work(&db, "orders", 4);
    assert_eq!(states(&db), ["4 failed", "7 waiting", "10 waiting"]);
    assert_eq!(handled(&db, "1"), ["2", "5", "8", "11"]);
    let none = letters(&db, &["replay", "orders", "--aggregate", "Sales/Order/1"]).success();
    assert!(none.stderr.contains("no dead letter of Sales/Order/1 in orders"), "{none}");
}

#[test]
fn one_comes_with_those_before_it() {
    let db = parked(1);
    mend(&db);
    let done = letters(&db, &["replay", "orders", "--position", "7"]).success();
    assert!(done.stderr.contains("1 dead letter before it, of the same aggregate"), "{done}");
    assert_eq!(asked(&db), ["4", "7"]);
    work(&db, "orders", 1);
    assert_eq!(states(&db), ["8 failed", "10 waiting", "11 waiting"]);
    // The aggregate has still one that waits, so whatever comes waits too.
    append(&db, "0");
    work(&db, "orders", 1);
    assert_eq!(states(&db), ["8 failed", "10 waiting", "11 waiting", "13 waiting"]);
    letters(&db, &["replay", "orders", "--position", "13"]).success();
    work(&db, "orders", 1);
    assert_eq!(handled(&db, "0"), ["1", "4", "7", "10", "13"]);
    let none = letters(&db, &["replay", "orders", "--position", "13"]).success();
    assert!(none.stderr.contains("no dead letter of orders at position 13"), "{none}");
}

#[test]
fn what_was_skipped_is_meant_by_its_position_alone() {
    let db = parked(1);
    mend(&db);
    db.execute("UPDATE projection_dead_letters SET state = 'skipped' WHERE global_position = 4");
    letters(&db, &["replay", "orders", "--all"]).success();
    assert_eq!(asked(&db), ["7", "8", "10", "11"]);
    letters(&db, &["replay", "orders", "--position", "4"]).success();
    assert_eq!(asked(&db), ["4", "7", "8", "10", "11"]);
    work(&db, "orders", 1);
    assert_eq!(states(&db), Vec::<String>::new());
}

#[test]
fn a_wait_tells_what_failed_again() {
    let db = parked(4);
    db.execute("DELETE FROM poison WHERE position = 8; INSERT INTO poison VALUES (7)");
    let workers = Workers::begin(&db, "orders", 4, 2);
    let wait = ["replay", "orders", "--all", "--wait", "--timeout", "60s"];
    let failed = letters(&db, &wait).failure(1);
    for words in [
        "1 dead letter of orders failed again, 2 handled",
        "position 4 of Sales/Order/0: position 4 is poison…",
        "2 dead letters behind them wait on",
        "pupctl projections dead-letters discard orders --position POSITION",
    ] {
        assert!(failed.stderr.contains(words), "{words}: {failed}");
    }
    assert!(!failed.stderr.contains("no worker"), "{failed}");
    assert_eq!(states(&db), ["4 failed", "7 waiting", "10 waiting"]);
    db.execute("DELETE FROM poison WHERE position = 4");
    let json = letters(&db, &[&wait[..], &["-o", "json"]].concat()).failure(1).json();
    let numbers = ["letters", "handled", "failed", "waiting", "pending"].map(|key| &json[key]);
    assert_eq!(numbers, [3, 1, 1, 1, 0], "{json}");
    assert_eq!(json["failures"][0]["position"], 7, "{json}");
    mend(&db);
    let done = letters(&db, &wait).success();
    assert!(done.stderr.contains("Done: 2 dead letters handled"), "{done}");
    drop(workers);
    assert_eq!(handled(&db, "0"), ["1", "4", "7", "10"]);
    assert_eq!(handled(&db, "1"), ["2", "5", "8", "11"]);
}

#[test]
fn a_wait_for_nobody_ends() {
    let db = parked(1);
    let wait = ["replay", "orders", "--all", "--wait", "1s"];
    let late = letters(&db, &wait).failure(1);
    for words in [
        "no worker of orders is connected",
        "workers of orders have not looked at 5 dead letters within 1s",
        "pupctl projections status orders",
    ] {
        assert!(late.stderr.contains(words), "{words}: {late}");
    }
    let json = letters(&db, &[&wait[..], &["-o", "json"]].concat()).failure(1).json();
    assert_eq!(
        (&json["pending"], &json["workers"], &json["changed"]),
        (&5.into(), &0.into(), &false.into())
    );
    db.execute("UPDATE projection_checkpoints SET paused_at = now(), replay_at = NULL");
    let paused = letters(&db, &["replay", "orders", "--all"]).success();
    assert!(paused.stderr.contains("pupctl projections resume orders"), "{paused}");
}

#[test]
fn a_dry_run_shows_the_sql_and_changes_nothing() {
    let db = parked(4);
    let before = state(&db);
    for command in [
        &["replay", "orders", "--all"][..],
        &["replay", "orders", "--position", "7"],
        &["discard", "orders", "--all"],
    ] {
        let dry = letters(&db, &[command, &["--dry-run"]].concat()).success();
        assert!(dry.stdout.contains("'orders:3/4'") && dry.stdout.contains("FOR UPDATE"), "{dry}");
        assert!(dry.stdout.contains("public\".\"projection_dead_letters\""), "{dry}");
        assert_eq!(state(&db), before);
        // The script does what the command does.
        let [by_psql, by_pupctl] = [TestDatabase::copy_of(&db), TestDatabase::copy_of(&db)];
        std::fs::write(by_psql.folder().join("script.sql"), &dry.stdout).expect("a script");
        by_psql.psql(["-f", "script.sql"]).success();
        letters(&by_pupctl, &[command, &["--yes"]].concat()).success();
        assert_eq!(state(&by_psql), state(&by_pupctl), "{command:?}");
        assert_ne!(state(&by_psql), before);
    }
}

#[test]
fn a_batch_that_runs_is_waited_for() {
    let db = parked(2);
    let mut worker = db.client();
    let batch = "SET application_name = 'pupctl/projection orders'; BEGIN;
        SELECT FROM projection_checkpoints WHERE slot = 1 FOR UPDATE";
    worker.batch_execute(batch).expect("a batch");
    let before = state(&db);
    for command in [["replay", "orders", "--all"], ["discard", "orders", "--all"]] {
        let late =
            letters(&db, &[&command[..], &["--yes", "--patience", "1s"]].concat()).failure(5);
        assert!(late.stderr.contains("pupctl/projection orders"), "{late}");
        assert_eq!(state(&db), before);
    }
    let run = db.command(["projections", "dead-letters", "replay", "orders", "--all"]).spawn();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name LIKE 'pupctl/projections dead%' AND wait_event_type = 'Lock'";
    eventually("it waits for the batch", || db.one::<i64>(waits) > 0);
    // What the batch parks is asked for too: it is there when the rows are locked.
    worker
        .batch_execute(
            "INSERT INTO projection_dead_letters (projection, global_position, bounded_context,
                aggregate_type, aggregate_id, aggregate_version, event_id, event_type, state)
             SELECT projection, 13, bounded_context, aggregate_type, aggregate_id, 5,
                gen_random_uuid(), event_type, 'waiting'
             FROM projection_dead_letters WHERE global_position = 10;
             COMMIT",
        )
        .expect("the batch ends");
    let done = run.wait().success();
    assert!(done.stderr.contains("6 dead letters asked for"), "{done}");
    assert_eq!(asked(&db), ["4", "7", "8", "10", "11", "13"]);
}
