//! Killed wherever it can be: the same command goes on, and ends where an undisturbed run ends.

use crate::support::eventually;
use crate::{
    COUNTS, REBUILD, SUMS, append, highest, nothing_left, old, reference, run, store, sums, write,
};

const POINTS: [(&str, bool); 11] = [
    ("rebuild::cleared", false),
    ("projection::sql_made", false),
    ("rebuild::made", false),
    ("rebuild::begun", false),
    ("projection::handled", false),
    ("projection::before_commit", false),
    ("rebuild::folded", false),
    ("rebuild::locked", false),
    ("rebuild::folded_rest", false),
    ("projections::before_commit", false),
    ("rebuild::swapped", true),
];

#[test]
fn a_killed_rebuild_goes_on() {
    for (point, swapped) in POINTS {
        let db = store(10, 10);
        write(&db, "totals", COUNTS);
        run(&db);
        write(&db, "totals", SUMS);
        let before = old(&db);
        let killed = db.command(REBUILD).failpoints(&format!("{point}=return")).run().killed();
        if !swapped {
            assert_eq!(old(&db), before, "{point}: {killed}");
        }
        let lock = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("the server has noticed", || db.one::<i64>(lock) == 0);
        append(&db, "late", 2, 2);
        let again = db.pupctl(REBUILD).success();
        assert_eq!(sums(&db), reference(&db, highest(&db)), "{point}: {again}");
        nothing_left(&db);
        let journal = db.journal();
        let first = if swapped { "done" } else { "interrupted" };
        let expected =
            [format!("projections rebuild: {first}"), "projections rebuild: done".into()];
        // Before the row of the journal nothing was begun.
        assert_eq!(journal[1..], expected, "{point}");
    }
}

#[test]
fn it_is_resumed_by_its_number() {
    let db = store(10, 10);
    write(&db, "totals", COUNTS);
    run(&db);
    write(&db, "totals", SUMS);
    db.command(REBUILD).failpoints("rebuild::folded=return").run().killed();
    let id = db.one::<i64>("SELECT max(id) FROM pupctl_operations").to_string();
    let resume = ["operations", "resume", &id, "--yes"];
    eventually("it goes on", || db.pupctl(resume).code == Some(0));
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    nothing_left(&db);
}

#[test]
fn it_is_killed_at_any_time() {
    let db = store(50, 100);
    write(&db, "totals", COUNTS);
    run(&db);
    write(&db, "totals", SUMS);
    for turn in 0..12_u64 {
        let running = db.command(REBUILD).spawn();
        std::thread::sleep(std::time::Duration::from_millis(40 * turn));
        let _ = running.kill();
        append(&db, &format!("late-{turn}"), 2, 2);
    }
    eventually("nobody has its lock", || db.pupctl(REBUILD).code == Some(0));
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    nothing_left(&db);
}

#[test]
fn an_interrupted_one_says_how_to_go_on() {
    let db = store(10, 10);
    write(&db, "totals", SUMS);
    let running = db.command(REBUILD).failpoints("projection::handled=sleep(1000)").spawn();
    let begun = "SELECT count(*) FROM projection_checkpoints WHERE projection = 'totals:rebuild'";
    eventually("it has begun", || db.one::<i64>(begun) == 2);
    running.signal("INT");
    let ended = running.wait().failure(130);
    assert!(ended.stderr.contains("run the command again"), "{ended}");
    assert_eq!(db.journal().last().expect("a row"), "projections rebuild: interrupted");
    db.pupctl(REBUILD).success();
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    nothing_left(&db);
}
