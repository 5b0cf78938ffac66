//! Lost events are given after all: once, whoever asks how often, and whoever is killed.

use crate::support::{Background, TestDatabase};
use crate::{
    BOTH, append, assert_finds_nothing, assert_is_reference, assert_mends, handled, insert_at,
    verify, work,
};

fn with_losses(slots: u32) -> TestDatabase {
    let db = handled(slots);
    for position in [12, 13, 30] {
        insert_at(&db, position, &format!("order-{position}"));
    }
    db
}

fn letters(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT concat_ws(' ', projection, global_position, state, replay_at IS NOT NULL)
         FROM public.projection_dead_letters ORDER BY projection, global_position",
    )
}

const SIX: [&str; 6] = [
    "code 12 missed t",
    "code 13 missed t",
    "code 30 missed t",
    "sql 12 missed t",
    "sql 13 missed t",
    "sql 30 missed t",
];

#[test]
fn a_second_repair_has_nothing_to_do() {
    let db = with_losses(4);
    let done = verify(&db, &["--all", "--repair"]).success();
    assert!(
        done.stderr.contains("Done: 3 lost events of code: workers handle them next"),
        "{done}"
    );
    assert!(done.stderr.contains("pupctl projections run sql --until-caught-up"), "{done}");
    assert!(done.stderr.contains("where the order matters"), "{done}");
    assert_eq!(letters(&db), SIX);
    let before = db.dump();
    verify(&db, &["--all", "--repair"]).success();
    assert_eq!(db.dump(), before);
    let status = db.pupctl(["projections", "status", "code"]).success();
    assert!(status.stdout.contains("dead letters: 3 missed"), "{status}");
    let gate = ["projections", "status", "code", "--wait", "--position", "60"];
    db.pupctl(gate).failure(1);
    assert_mends(&db, 4);
    db.pupctl(gate).success();
}

#[test]
fn many_repairs_at_once_give_nothing_twice() {
    let db = with_losses(1);
    let line = ["projections", "verify", "--all", "--repair"];
    let runs: Vec<_> = (0..4).map(|_| db.command(line).spawn()).collect();
    for run in runs.into_iter().map(Background::wait) {
        run.success();
    }
    assert_eq!(letters(&db), SIX);
    assert_mends(&db, 1);
}

#[test]
fn a_repair_beside_workers() {
    let db = with_losses(4);
    let runner = crate::runner(&db, 4);
    let stop = runner.stopper();
    let running = std::thread::spawn(move || runner.run());
    append(&db, 0..10);
    verify(&db, &["--all", "--repair"]).success();
    crate::support::eventually("all are handled", || letters(&db).is_empty());
    stop.raise();
    running.join().expect("no panic").expect("stopped");
    work(&db, 4);
    assert_finds_nothing(&db);
    assert_is_reference(&db);
}

#[cfg(feature = "failpoints")]
#[test]
fn a_kill_before_the_commit_leaves_everything_as_it_was() {
    let db = with_losses(4);
    let before = db.dump();
    let line = ["projections", "verify", "code", "--repair"];
    db.command(line).failpoints("projections::before_commit=return").run().killed();
    assert_eq!(db.dump(), before);
    db.pupctl(line).success();
    db.pupctl(["projections", "verify", "sql", "--repair"]).success();
    assert_eq!(letters(&db), SIX);
    assert_mends(&db, 4);
}

#[test]
fn a_dry_run_is_what_would_run() {
    let db = with_losses(4);
    let before = db.dump();
    let dry = verify(&db, &["--all", "--repair", "--dry-run"]).success();
    assert!(dry.stderr.contains("Dry run: 3 lost events of code"), "{dry}");
    assert_eq!(db.dump(), before);
    std::fs::write(db.folder().join("repair.sql"), &dry.stdout).expect("a script");
    db.psql(["-f", "repair.sql"]).success();
    assert_eq!(letters(&db), SIX);
    assert_mends(&db, 4);
    let alone = verify(&db, &["code", "--dry-run"]).failure(2);
    assert!(alone.stderr.contains("--repair"), "{alone}");
}

#[test]
fn behind_an_event_that_failed_a_lost_one_waits() {
    for slots in [1, 4] {
        let db = handled(slots);
        db.execute("INSERT INTO poison VALUES (61)");
        append(&db, 1..2);
        work(&db, slots);
        insert_at(&db, 12, "order-1");
        insert_at(&db, 13, "order-2");
        verify(&db, &["--all", "--repair"]).success();
        let wanted = ["12 waiting f", "13 missed t", "61 failed f"];
        let both = BOTH.map(|name| wanted.map(|letter| format!("{name} {letter}"))).concat();
        assert_eq!(letters(&db), both);
        work(&db, slots);
        let left = ["12 waiting f", "61 failed f"];
        let both = BOTH.map(|name| left.map(|letter| format!("{name} {letter}"))).concat();
        assert_eq!(letters(&db), both);
        assert_finds_nothing(&db);
        db.execute("DELETE FROM poison");
        for name in BOTH {
            db.pupctl(["projections", "dead-letters", "replay", name, "--all"]).success();
        }
        work(&db, slots);
        assert_eq!(letters(&db), Vec::<String>::new());
        assert_is_reference(&db);
    }
}

#[test]
fn a_lost_event_that_fails_holds_nobody_up() {
    let db = handled(1);
    insert_at(&db, 12, "order-1");
    insert_at(&db, 13, "order-1");
    db.execute("INSERT INTO poison VALUES (12)");
    verify(&db, &["--all", "--repair"]).success();
    append(&db, 1..2);
    work(&db, 1);
    // The later one of the same aggregate that was missed as well stays behind it.
    let wanted = ["12 missed f", "13 missed f"];
    let both = BOTH.map(|name| wanted.map(|letter| format!("{name} {letter}"))).concat();
    assert_eq!(letters(&db), both);
    assert_eq!(db.one::<i64>("SELECT min(last_global_position) FROM projection_checkpoints"), 61);
    let replay = ["projections", "dead-letters", "replay", "code", "--all", "--wait", "5s"];
    let waiting = db.command(replay).spawn();
    crate::support::eventually("it is asked for", || letters(&db)[0] == "code 12 missed t");
    work(&db, 1);
    let failed = waiting.wait().failure(1);
    assert!(failed.stderr.contains("1 dead letter of code failed again"), "{failed}");
    db.execute("DELETE FROM poison");
    for name in BOTH {
        db.pupctl(["projections", "dead-letters", "replay", name, "--all"]).success();
    }
    work(&db, 1);
    assert_eq!(letters(&db), Vec::<String>::new());
    assert_is_reference(&db);
}

#[test]
fn a_lost_event_that_is_discarded_is_left_out_for_good() {
    let db = with_losses(1);
    verify(&db, &["--all", "--repair"]).success();
    for name in BOTH {
        db.pupctl(["projections", "dead-letters", "discard", name, "--all", "--yes"]).success();
    }
    work(&db, 1);
    assert_finds_nothing(&db);
    verify(&db, &["--all", "--repair"]).success();
    assert_eq!(letters(&db), Vec::<String>::new());
}

#[test]
fn what_else_is_wrong_stays_to_be_told() {
    let db = with_losses(1);
    db.execute("DELETE FROM events WHERE global_position = 50");
    let found = verify(&db, &["code", "--repair"]).failure(3);
    assert!(found.stdout.contains("pupctl projections reset code --truncate"), "{found}");
    assert!(found.stderr.contains("Done: 3 lost events of code"), "{found}");
    work(&db, 1);
    assert_eq!(crate::found(&db, "code", &[]), ["vanished 1 50-50"]);
    let sql = crate::found(&db, "sql", &[]);
    assert_eq!(sql, ["lost 3 12-30", "vanished 1 50-50"]);
}
