//! A deployment waits until projections are where they have to be.

use crate::support::eventually;
use crate::{add_letters, append, store, with_projection};

fn advance(db: &crate::support::TestDatabase, position: i64, slots: &str) {
    db.execute(&format!(
        "UPDATE projection_checkpoints SET last_global_position = {position} WHERE {slots}"
    ));
}

#[test]
fn it_ends_when_every_slot_is_there() {
    let db = with_projection("orders", 2, &[]);
    append(&db, "Sales", 0..5);
    let wait = ["projections", "status", "orders", "--wait", "--position", "head", "-o", "json"];
    let mut gate = db.command(wait).spawn();
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'pupctl/projections status'";
    eventually("it looks", || db.one::<i64>(connected) == 1);
    advance(&db, 5, "slot = 0");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(gate.is_running());
    advance(&db, 5, "slot = 1");
    let done = gate.wait().success().json();
    assert_eq!(done["position"], 5);
    assert_eq!(done["projections"], serde_json::json!(["orders"]));
}

#[test]
fn it_fails_with_who_is_where() {
    let db = with_projection("orders", 2, &[]);
    append(&db, "Sales", 0..5);
    advance(&db, 5, "slot = 0");
    db.execute(
        "UPDATE projection_checkpoints SET last_global_position = 3, last_error = 'no such order'
         WHERE slot = 1",
    );
    let mut writer = db.client();
    writer
        .batch_execute(
            "SET application_name = 'a writer'; BEGIN;
            LOCK TABLE events IN ROW EXCLUSIVE MODE",
        )
        .expect("a writer");
    let wait = ["projections", "status", "--wait", "--position", "5", "--timeout", "500ms"];
    let late = db.pupctl(wait).failure(1);
    for words in [
        "1 checkpoint has not reached position 5 within 500ms",
        "orders:1/2 is at 3, and fails",
        "orders:1/2 fails: no such order",
        "a writer",
        "--timeout",
    ] {
        assert!(late.stderr.contains(words), "{words}: {late}");
    }
    assert!(!late.stderr.contains("orders:0/2"), "{late}");
    let beyond = ["projections", "status", "--wait", "300ms", "--position", "9"];
    let late = db.pupctl(beyond).failure(1);
    assert!(late.stderr.contains("the last position of the store is 5"), "{late}");
}

#[test]
fn paused_projections_are_not_waited_for() {
    let db = with_projection("orders", 1, &[]);
    append(&db, "Sales", 0..5);
    db.pupctl(["projections", "pause", "orders"]).success();
    let all = ["projections", "status", "--wait", "--position", "head"];
    let nobody = db.pupctl(all).failure(1);
    assert!(nobody.stderr.contains("there is no projection to wait for"), "{nobody}");
    assert!(nobody.stderr.contains("orders is paused"), "{nobody}");
    let named = ["projections", "status", "orders", "--wait", "--position", "head"];
    let refused = db.pupctl(named).failure(1);
    assert!(refused.stderr.contains("orders is paused at position 0"), "{refused}");
    assert!(refused.stderr.contains("pupctl projections resume orders"), "{refused}");
    advance(&db, 5, "true");
    db.pupctl(named).success();
}

#[test]
fn one_that_is_not_there_yet_may_come() {
    let db = store();
    let wait = ["projections", "status", "orders", "--wait", "--position", "0", "--timeout"];
    let unknown = db.pupctl(wait.iter().chain(&["300ms"])).failure(1);
    assert!(unknown.stderr.contains("there is no projection orders"), "{unknown}");
    let gate = db.command(wait.iter().chain(&["60s"])).spawn();
    db.pupctl(["projections", "init", "orders", "--slots", "2"]).success();
    gate.wait().success();
    // Those of other libraries are where they are, too.
    db.execute("INSERT INTO projection_checkpoints VALUES ('carts_p0', 7), ('carts_p1', 8)");
    let carts = ["projections", "status", "carts", "--wait", "--position"];
    db.pupctl(carts.iter().chain(&["7"])).success();
    let late = db.pupctl(carts.iter().chain(&["8", "--timeout", "300ms"])).failure(1);
    assert!(late.stderr.contains("carts_p0 is at 7"), "{late}");
}

#[test]
fn dead_letters_and_what_is_left_out_are_told() {
    let db = with_projection("orders", 2, &[]);
    db.pupctl(["projections", "init", "carts"]).success();
    db.pupctl(["projections", "pause", "carts"]).success();
    db.execute("INSERT INTO projection_checkpoints VALUES ('others', 0)");
    append(&db, "Sales", 0..5);
    advance(&db, 5, "projection = 'orders'");
    add_letters(&db, "orders", 3);
    add_letters(&db, "carts", 1);
    let wait = ["projections", "status", "--wait", "--position", "head"];
    let refused = db.pupctl(wait).failure(1);
    assert!(refused.stderr.contains("3 events of orders, the first at position 1"), "{refused}");
    assert!(refused.stderr.contains("--ignore-dead-letters"), "{refused}");
    assert!(!refused.stderr.contains("carts"), "{refused}");

    let passes = wait.iter().chain(&["--ignore-dead-letters", "-o", "json"]);
    let done = db.pupctl(passes).success().json();
    assert_eq!(done["dead_letters"][0]["letters"], 3);
    let left = serde_json::json!([
        {"name": "carts", "why": "paused"}, {"name": "others", "why": "foreign"}
    ]);
    assert_eq!(done["left_out"], left);
    // Those that come later are those of a later gate.
    db.execute("UPDATE projection_dead_letters SET global_position = global_position + 5");
    db.pupctl(wait).success();
}

#[test]
fn a_barrier_on_the_way_is_told() {
    let db = with_projection("orders", 2, &[]);
    append(&db, "Sales", 0..5);
    db.execute("UPDATE projection_checkpoints SET drain_to = 3, paused_at = now()");
    let list = db.pupctl(["projections", "list"]).success();
    assert!(list.stdout.contains("paused, draining"), "{list}");
    db.pupctl(["projections", "resume", "orders"]).success();
    let wait = ["projections", "status", "--wait", "--position", "5", "--timeout", "300ms"];
    let late = db.pupctl(wait).failure(1);
    assert!(late.stderr.contains("stop at position 3"), "{late}");
    assert!(late.stderr.contains("pupctl projections rescale orders --abort"), "{late}");
    advance(&db, 3, "true");
    let wait = ["projections", "status", "--wait", "--position", "3", "-o", "json"];
    let done = db.pupctl(wait).success().json();
    assert_eq!(done["barriers"], serde_json::json!([{"name": "orders", "drain_to": 3}]));
}

#[test]
fn what_is_said_by_halves_is_refused() {
    let db = store();
    for (more, hint) in [
        (&["--wait"][..], "--wait --position head"),
        (&["--position", "5"], "--wait --position"),
        (&["--wait", "--position", "soon"], "write head"),
    ] {
        let refused = db.pupctl(["projections", "status"].iter().chain(more)).failure(2);
        assert!(refused.stderr.contains(hint), "{refused}");
    }
}

#[test]
fn it_can_be_interrupted() {
    let db = with_projection("orders", 1, &[]);
    let gate = db.command(["projections", "status", "--wait", "--position", "9"]).spawn();
    let connected = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'pupctl/projections status'";
    eventually("it looks", || db.one::<i64>(connected) == 1);
    gate.signal("INT");
    gate.wait().failure(130);
}
