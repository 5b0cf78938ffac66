//! After a pause nobody works on a projection.

use crate::support::eventually;
use crate::{batch, rows, store, with_projection};

#[test]
fn a_pause_waits_for_the_batch_that_runs() {
    let db = with_projection("orders", 2, &[]);
    let mut worker = batch(&db, "orders", "1");
    let mut pause = db.command(["projections", "pause", "orders"]).spawn();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'pupctl/projections pause' AND wait_event_type = 'Lock'";
    eventually("the pause waits", || db.one::<i64>(waiting) == 1);
    // Long enough for the second session to tell of it.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(pause.is_running());
    // The other slot is kept from others meanwhile.
    let free = "SELECT count(*) FROM (SELECT FROM projection_checkpoints
        WHERE paused_at IS NULL FOR UPDATE SKIP LOCKED) AS free";
    assert_eq!(db.one::<i64>(free), 0);
    worker.batch_execute("COMMIT").expect("the end of the batch");
    let done = pause.wait().success();
    assert!(done.stderr.contains("Waiting for process"), "{done}");
    assert!(done.stderr.contains("pupctl/projection orders"), "{done}");
    assert!(done.stderr.contains("Done:"), "{done}");
    assert_eq!(db.one::<i64>(free), 0);
    let kept = "SELECT last_global_position FROM projection_checkpoints WHERE slot = 1";
    assert_eq!(db.one::<i64>(kept), 1, "what the batch wrote");
    assert_eq!(db.journal(), ["schema init: done"]);
}

#[test]
fn a_pause_gives_up_and_names_who_works() {
    let db = with_projection("orders", 2, &[]);
    let before = rows(&db);
    let mut worker = batch(&db, "orders", "0");
    let pause = ["projections", "pause", "orders", "--patience", "1s"];
    let gave_up = db.pupctl(pause).failure(5);
    assert!(gave_up.stderr.contains("pupctl/projection orders"), "{gave_up}");
    assert!(gave_up.stderr.contains("--patience"), "{gave_up}");
    let at_once = ["projections", "pause", "orders", "--patience", "0s", "-o", "json"];
    let gave_up = db.pupctl(at_once).failure(5).json();
    let details = gave_up["error"]["details"].to_string();
    assert!(details.contains("pupctl/projection orders"), "{details}");
    worker.batch_execute("ROLLBACK").expect("the end of the batch");
    assert_eq!(rows(&db), before);
}

#[test]
fn pauses_and_resumes_are_repeated_without_harm() {
    let db = with_projection("orders", 2, &[]);
    db.pupctl(["projections", "init", "totals"]).success();
    let before = rows(&db);
    let dry = db.pupctl(["projections", "pause", "--all", "--dry-run"]).success();
    assert!(dry.stdout.contains("FOR UPDATE"), "{dry}");
    assert!(dry.stdout.contains("IN ('orders', 'totals')"), "{dry}");
    assert_eq!(rows(&db), before);

    db.pupctl(["projections", "pause", "orders"]).success();
    let again = db.pupctl(["projections", "pause", "orders", "-o", "json"]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    assert_eq!(again.json()["changed"], false);
    let all = db.pupctl(["projections", "pause", "--all", "-o", "json"]).success().json();
    assert_eq!(all["projections"], serde_json::json!(["totals"]));
    let paused = "SELECT count(*) FROM projection_checkpoints WHERE paused_at IS NOT NULL";
    assert_eq!(db.one::<i64>(paused), 3);
    db.pupctl(["projections", "resume", "orders", "totals"]).success();
    let again = db.pupctl(["projections", "resume", "--all"]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    assert_eq!(rows(&db), before);
}

#[test]
fn rows_that_are_exchanged_meanwhile_are_paused_too() {
    let db = with_projection("orders", 2, &[]);
    let mut other = db.client();
    other
        .batch_execute(
            "BEGIN; SELECT FROM projection_checkpoints FOR UPDATE;
             INSERT INTO projection_checkpoints (projection_name, projection, slot, slots,
                slot_hash, epoch, last_global_position)
             SELECT 'orders:' || n || '/4', 'orders', n, 4, 'hashtextextended', 2, 0
             FROM generate_series(0, 3) AS n;
             DELETE FROM projection_checkpoints WHERE slots = 2",
        )
        .expect("other slots");
    let pause = db.command(["projections", "pause", "orders"]).spawn();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'pupctl/projections pause' AND wait_event_type = 'Lock'";
    eventually("the pause waits", || db.one::<i64>(waiting) == 1);
    other.batch_execute("COMMIT").expect("a commit");
    pause.wait().success();
    let paused = "SELECT count(*) FILTER (WHERE paused_at IS NOT NULL) || ' of ' || count(*)
        FROM projection_checkpoints";
    assert_eq!(db.one::<String>(paused), "4 of 4");
}

#[test]
fn other_libraries_know_nothing_of_pauses() {
    let db = store();
    db.execute("INSERT INTO projection_checkpoints VALUES ('orders_p0', 1), ('orders_p1', 2)");
    let refused = db.pupctl(["projections", "pause", "orders"]).failure(1);
    assert!(refused.stderr.contains("orders_p0, orders_p1"), "{refused}");
    assert!(refused.stderr.contains("adopt orders --total 2"), "{refused}");
    let all = db.pupctl(["projections", "pause", "--all"]).success();
    assert!(all.stderr.contains("Nothing to do"), "{all}");
}
