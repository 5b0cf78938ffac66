//! Killed at every step: the same command, run again, ends where an undisturbed run ends.

#![cfg(feature = "failpoints")]

use crate::support::TestDatabase;
use crate::{TYPE, TYPE_INDEX, invalid, store, whole};

const POINTS: [&str; 3] = ["execute::before_step", "execute::before_commit", "execute::after_step"];

/// A store with one context and two months, that is a branch and two leaves.
fn prepared(before: &[&[&str]]) -> TestDatabase {
    let db = store(&["--partition-by", "context,month", "--contexts", "A", "--months", "1"]);
    for command in before {
        db.pupctl(*command).success();
    }
    db
}

/// Kills the command at every time that it passes a point, and runs it again.
fn kill_everywhere(before: &[&[&str]], command: &[&str], after_kill: fn(&TestDatabase)) {
    let undisturbed = prepared(before);
    undisturbed.pupctl(command).success();
    let dump = undisturbed.dump();
    let mut kills = 0;
    for point in POINTS {
        for passed in 0.. {
            let db = prepared(before);
            let action = if passed == 0 { String::new() } else { format!("{passed}*off->") };
            let run = db.command(command).failpoints(&format!("{point}={action}return")).run();
            if run.code == Some(0) {
                assert_eq!(db.dump(), dump);
                break;
            }
            let run = run.killed();
            kills += 1;
            after_kill(&db);
            let again = db.pupctl(command.iter().chain(&["--wait", "60s"])).success();
            assert_eq!(db.dump(), dump, "{point} after {passed}\n{run}\n{again}");
        }
    }
    assert!(kills >= POINTS.len(), "{kills}");
}

#[test]
fn add_goes_on() {
    kill_everywhere(&[], &TYPE, |_| ());
}

#[test]
fn months_that_are_made_between_are_no_obstacle() {
    for passed in 0..6 {
        let db = prepared(&[]);
        let kill = format!("execute::after_step={passed}*off->return");
        db.command(TYPE).failpoints(&kill).run().killed();
        db.pupctl(["partitions", "ensure", "--months", "2", "--wait", "60s"]).success();
        db.pupctl(["contexts", "add", "B"]).success();
        db.pupctl(TYPE).success();
        assert!(whole(&db, TYPE_INDEX, "public.events"), "{passed}");
        assert_eq!(invalid(&db), Vec::<String>::new(), "{passed}");
    }
}

#[test]
fn drop_is_done_or_not_at_all() {
    let drop = ["schema", "index", "drop", TYPE_INDEX, "--yes"];
    kill_everywhere(&[&TYPE], &drop, |db| assert_eq!(invalid(db), Vec::<String>::new()));
}

#[test]
fn reindex_leaves_nothing_behind() {
    kill_everywhere(&[&TYPE], &["schema", "index", "reindex", TYPE_INDEX], |_| ());
}
