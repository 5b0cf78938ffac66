//! Several pupctls at once.

use crate::support::{Output, TestDatabase};
use crate::{add_letters, positions, rows, store, with_projection};

const AT_ONCE: usize = 4;

fn race(db: &TestDatabase, commands: &[&[&str]]) -> Vec<Output> {
    let started =
        commands.iter().map(|command| db.command(["projections"].iter().chain(*command)).spawn());
    let started = started.collect::<Vec<_>>();
    started.into_iter().map(crate::support::Background::wait).collect()
}

fn count(outputs: &[Output], words: &str) -> usize {
    outputs.iter().filter(|output| output.stderr.contains(words)).count()
}

#[test]
fn one_of_many_makes_the_rows() {
    let db = store();
    let command: &[&str] = &["init", "orders", "--slots", "8"];
    let outputs = race(&db, &[command; AT_ONCE]);
    assert_eq!(count(&outputs, "Done:"), 1, "{outputs:?}");
    assert_eq!(count(&outputs, "Nothing to do"), AT_ONCE - 1, "{outputs:?}");
    assert_eq!(positions(&db).len(), 8);
}

#[test]
fn of_two_ideas_of_the_slots_one_wins() {
    for _ in 0..3 {
        let db = store();
        let commands: &[&[&str]] =
            &[&["init", "orders", "--slots", "4"], &["init", "orders", "--slots", "8"]];
        let outputs = race(&db, commands);
        assert_eq!(count(&outputs, "Done:"), 1, "{outputs:?}");
        assert_eq!(count(&outputs, "pupctl projections rescale"), 1, "{outputs:?}");
        let agree = "SELECT count(DISTINCT slots) = 1 AND count(*) = max(slots)
            FROM projection_checkpoints";
        assert!(db.one::<bool>(agree), "{:?}", rows(&db));
    }
}

#[test]
fn pauses_resets_and_deletes_come_one_after_the_other() {
    let db = with_projection("orders", 8, &["--tables", "totals"]);
    db.execute("CREATE TABLE totals (id int)");
    add_letters(&db, "orders", 2);
    let pause: &[&str] = &["pause", "orders"];
    let outputs = race(&db, &[pause; AT_ONCE]);
    assert_eq!(count(&outputs, "Done:"), 1, "{outputs:?}");
    assert_eq!(count(&outputs, "Nothing to do"), AT_ONCE - 1, "{outputs:?}");
    let resume: &[&str] = &["resume", "--all"];
    let outputs = race(&db, &[resume; AT_ONCE]);
    assert_eq!(count(&outputs, "Done:"), 1, "{outputs:?}");
    let reset: &[&str] = &["reset", "orders", "--truncate", "--yes"];
    let outputs = race(&db, &[reset; AT_ONCE]);
    assert_eq!(count(&outputs, "Done:"), AT_ONCE, "{outputs:?}");
    let delete: &[&str] = &["delete", "orders", "--read-model", "--yes", "--wait", "60s"];
    let outputs = race(&db, &[delete; 2]);
    assert_eq!(count(&outputs, "Done:"), 1, "{outputs:?}");
    assert_eq!(count(&outputs, "there is no projection orders"), 1, "{outputs:?}");
    assert!(positions(&db).is_empty());
}

#[test]
fn a_run_that_holds_the_store_keeps_nobody_from_pausing() {
    let db = with_projection("orders", 2, &[]);
    let mut holder = db.client();
    holder.batch_execute("BEGIN; LOCK TABLE events IN SHARE MODE").expect("a lock");
    let index = ["schema", "index", "add", "--columns", "event_type"];
    let mut busy = db.command(index).spawn();
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    crate::support::eventually("the store is held", || db.one::<i64>(held) == 1);
    db.pupctl(["projections", "init", "totals"]).success();
    db.pupctl(["projections", "pause", "--all"]).success();
    db.pupctl(["projections", "reset", "orders", "--yes"]).success();
    db.pupctl(["projections", "resume", "--all"]).success();
    db.pupctl(["projections", "delete", "orders", "--yes"]).success();
    assert!(busy.is_running());
    holder.batch_execute("COMMIT").expect("an end");
}
