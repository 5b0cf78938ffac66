//! A rebuild is called off: the old read model is as it was, and nothing else is left.

use crate::support::eventually;
use crate::{COUNTS, REBUILD, SUMS, nothing_left, old, run, store, write};

#[test]
fn one_that_waits_for_its_swap_is_called_off() {
    let db = store(10, 10);
    write(&db, "totals", COUNTS);
    run(&db);
    write(&db, "totals", SUMS);
    let before = old(&db);
    db.pupctl(["projections", "rebuild", "totals", "--no-swap"]).success();
    let shown = db.pupctl(["operations", "abort", "totals:rebuild", "--dry-run"]).success();
    assert!(shown.stdout.contains("DROP SCHEMA \"pupctl_rebuild_totals\" CASCADE"), "{shown}");
    db.pupctl(["operations", "abort", "totals:rebuild"]).failure(2);
    let done = db.pupctl(["operations", "abort", "totals:rebuild", "--yes"]).success();
    assert!(done.stderr.contains("called off"), "{done}");
    nothing_left(&db);
    assert_eq!(old(&db), before);
    let again = db.pupctl(["operations", "abort", "totals:rebuild", "--yes"]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
}

#[test]
fn one_that_runs_notices_and_ends() {
    for point in ["rebuild::begun", "projection::handled", "rebuild::folded"] {
        let db = store(10, 10);
        write(&db, "totals", COUNTS);
        run(&db);
        write(&db, "totals", SUMS);
        let before = old(&db);
        let running = db.command(REBUILD).failpoints(&format!("{point}=sleep(2000)")).spawn();
        let begun =
            "SELECT count(*) FROM projection_checkpoints WHERE projection = 'totals:rebuild'";
        eventually("it has begun", || db.one::<i64>(begun) == 2);
        let id = db.one::<i64>("SELECT max(id) FROM pupctl_operations").to_string();
        db.pupctl(["operations", "abort", &id, "--yes"]).success();
        let ended = running.wait().failure(1);
        assert!(ended.stderr.contains("called off"), "{point}: {ended}");
        nothing_left(&db);
        assert_eq!(old(&db), before, "{point}");
        assert_eq!(db.journal().last().expect("a row"), "projections rebuild: failed");
        let resumed = db.pupctl(["operations", "resume", &id]).failure(1);
        assert!(resumed.stderr.contains("nothing to go on with"), "{resumed}");
    }
}

#[test]
fn one_that_was_killed_is_called_off_by_its_number() {
    let db = store(10, 10);
    write(&db, "totals", COUNTS);
    run(&db);
    write(&db, "totals", SUMS);
    let before = old(&db);
    db.command(REBUILD).failpoints("rebuild::folded=return").run().killed();
    let listed = || db.pupctl(["operations", "list", "-o", "json"]).success().json();
    eventually("the server has noticed", || listed()["operations"][0]["outcome"] == "interrupted");
    let id = db.one::<i64>("SELECT max(id) FROM pupctl_operations").to_string();
    let shown = db.pupctl(["operations", "show", &id]).success();
    assert!(shown.stderr.contains("operations abort"), "{shown}");
    db.pupctl(["operations", "abort", &id, "--yes"]).success();
    nothing_left(&db);
    assert_eq!(old(&db), before);
}
