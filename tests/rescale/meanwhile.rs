//! Two at the same time, and rows that others hold.

use std::time::Duration;

use pupctl::projection::ServerHash;

use crate::support::eventually;
use crate::worker::{Workers, wait_until_caught_up};
use crate::{events, exactly_once, handle_before, projection, projections, rows, store};

const HASH: &str = ServerHash::NAME;

#[test]
fn two_that_want_the_same_both_succeed() {
    for positions in [[40, 90].as_slice(), &[90, 90]] {
        let db = store();
        events(&db, 100, 10);
        projection(&db, "orders", HASH, positions);
        handle_before(&db, "orders", HASH, positions);
        let spawn = || db.command(["projections", "rescale", "orders", "--slots", "3"]).spawn();
        let runs = [spawn(), spawn(), spawn()];
        let workers = Workers::start(&db, "orders", 2, Duration::from_millis(2));
        let done = runs.map(|run| run.wait().success());
        let changed = done.iter().filter(|run| run.stderr.contains("Done:")).count();
        assert_eq!(changed, 1, "{done:#?}");
        wait_until_caught_up(&db, "orders");
        drop(workers);
        assert_eq!(rows(&db).len(), 3);
        exactly_once(&db, "orders");
    }
}

#[test]
fn another_change_is_refused_until_the_first_has_ended() {
    let db = store();
    events(&db, 100, 10);
    projection(&db, "orders", HASH, &[10, 20, 30, 40]);
    projections(&db, &["rescale", "orders", "--slots", "2", "--patience", "0s"]).failure(1);
    let before = rows(&db);
    for slots in ["1", "3", "4", "8"] {
        let refused = projections(&db, &["rescale", "orders", "--slots", slots]).failure(1);
        let words = "another rescale of the projection orders was begun and not finished";
        assert!(refused.stderr.contains(words), "{refused}");
        assert!(refused.stderr.contains("orders:0/4 is at 10 and is to stop at 30"), "{refused}");
        assert_eq!(rows(&db), before);
    }
}

#[test]
fn one_that_waits_notices_that_it_was_called_off_or_overtaken() {
    let db = store();
    events(&db, 100, 10);
    projection(&db, "orders", HASH, &[10, 20]);
    let spawn = || db.command(["projections", "rescale", "orders", "--slots", "1"]).spawn();
    let barrier = ["orders:0/2@10>20", "orders:1/2@20>20"];
    let run = spawn();
    eventually("the barrier", || rows(&db) == barrier);
    projections(&db, &["rescale", "orders", "--abort"]).success();
    let refused = run.wait().failure(1);
    assert!(refused.stderr.contains("its barrier is gone"), "{refused}");
    let run = spawn();
    eventually("the barrier", || rows(&db) == barrier);
    run.signal("STOP");
    projections(&db, &["rescale", "orders", "--abort"]).success();
    projections(&db, &["rescale", "orders", "--slots", "4"]).success();
    run.signal("CONT");
    let refused = run.wait().failure(1);
    let words = "the slots of the projection orders were changed meanwhile: there are 4";
    assert!(refused.stderr.contains(words), "{refused}");
    // What it wanted was done by another.
    db.execute("UPDATE projection_checkpoints SET last_global_position = 10 + slot");
    let run = spawn();
    eventually("the barrier", || rows(&db)[0] == "orders:0/4@10>13");
    run.signal("STOP");
    db.execute("UPDATE projection_checkpoints SET last_global_position = drain_to");
    projections(&db, &["rescale", "orders", "--slots", "1"]).success();
    run.signal("CONT");
    let fine = run.wait().success();
    assert!(fine.stderr.contains("Nothing to do: orders has 1 slot"), "{fine}");
    assert_eq!(rows(&db), ["orders@13"]);
}

#[test]
fn a_batch_that_takes_long_is_waited_for_and_named() {
    let db = store();
    events(&db, 100, 10);
    projection(&db, "orders", HASH, &[10, 20]);
    let mut worker = db.client();
    worker.batch_execute("SET application_name = 'the worker'").expect("a name");
    let mut batch = worker.transaction().expect("a batch");
    batch
        .batch_execute("SELECT FROM projection_checkpoints WHERE slot = 1 FOR UPDATE")
        .expect("a claim");
    let line = ["projections", "rescale", "orders", "--slots", "4"];
    let late = db.command(line.iter().chain(&["--patience", "1500ms"])).run().failure(5);
    for words in ["were not free within 1s 500ms", "the worker", "--patience"] {
        assert!(late.stderr.contains(words), "{words}: {late}");
    }
    let run = db.command(line).spawn();
    std::thread::sleep(Duration::from_millis(300));
    // What the batch moves is what the change begins with.
    batch
        .batch_execute("UPDATE projection_checkpoints SET last_global_position = 60 WHERE slot = 1")
        .expect("a batch");
    batch.commit().expect("the end of the batch");
    run.wait().success();
    assert_eq!(rows(&db), ["orders:0/4@10", "orders:1/4@60", "orders:2/4@10", "orders:3/4@60"]);
}

#[test]
fn an_interrupted_wait_leaves_the_barrier() {
    let db = store();
    events(&db, 100, 10);
    projection(&db, "orders", HASH, &[10, 20]);
    let run = db.command(["projections", "rescale", "orders", "--slots", "1"]).spawn();
    eventually("the barrier", || rows(&db)[0].contains('>'));
    run.signal("INT");
    let interrupted = run.wait().failure(130);
    assert!(interrupted.stderr.contains("interrupted"), "{interrupted}");
    assert_eq!(rows(&db), ["orders:0/2@10>20", "orders:1/2@20>20"]);
}

#[test]
fn a_server_that_goes_away_is_told() {
    let db = store();
    events(&db, 100, 10);
    projection(&db, "orders", HASH, &[10, 20]);
    let run = db.command(["projections", "rescale", "orders", "--slots", "1"]).spawn();
    eventually("the barrier", || rows(&db)[0].contains('>'));
    db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name LIKE 'pupctl/projections%' AND datname = current_database()",
    );
    let failed = run.wait().failure(1);
    assert!(!failed.stderr.contains("db error"), "{failed}");
    assert_eq!(rows(&db), ["orders:0/2@10>20", "orders:1/2@20>20"]);
}
