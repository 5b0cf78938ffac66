//! Several pupctls at once, beside workers; and what a killed one leaves.

use crate::support::{Background, Output, TestDatabase};
use crate::{Workers, asked, handled, letters, parked, states};

fn race(db: &TestDatabase, commands: &[&[&str]]) -> Vec<Output> {
    let begin = |command: &&[&str]| {
        db.command(["projections", "dead-letters"].iter().chain(*command)).spawn()
    };
    let started: Vec<_> = commands.iter().map(begin).collect();
    started.into_iter().map(Background::wait).collect()
}

fn count(outputs: &[Output], words: &str) -> usize {
    outputs.iter().filter(|output| output.stderr.contains(words)).count()
}

#[test]
fn one_of_many_asks_and_one_forgets() {
    let db = parked(4);
    let replay: &[&str] = &["replay", "orders", "--all"];
    let outputs = race(&db, &[replay; 4]);
    assert_eq!((count(&outputs, "Done:"), count(&outputs, "Nothing to do")), (1, 3), "{outputs:?}");
    assert_eq!(asked(&db).len(), 5);
    let discard: &[&str] = &["discard", "orders", "--all", "--yes"];
    let outputs = race(&db, &[discard; 4]);
    assert_eq!((count(&outputs, "Done:"), count(&outputs, "Nothing to do")), (1, 3), "{outputs:?}");
    assert_eq!(states(&db), Vec::<String>::new());
}

#[test]
fn nothing_is_handled_twice_or_out_of_order_while_everybody_replays() {
    let db = parked(4);
    db.execute("DELETE FROM poison");
    let workers = Workers::begin(&db, "orders", 4, 3);
    let replays: Vec<&[&str]> = vec![
        &["replay", "orders", "--all", "--wait", "60s"],
        &["replay", "orders", "--position", "11", "--wait", "60s"],
        &["replay", "orders", "--aggregate", "Sales/Order/0", "--wait", "60s"],
    ];
    for output in race(&db, &replays) {
        output.success();
    }
    for number in 0..12 {
        crate::append(&db, &(number % 3).to_string());
    }
    let all = "SELECT count(*) = 24 FROM handled";
    crate::support::eventually("all are handled", || db.one(all));
    drop(workers);
    assert_eq!(states(&db), Vec::<String>::new());
    // The key of the table refuses what is handled twice.
    for (aggregate, first) in [("0", 1), ("1", 2), ("2", 3)] {
        let expected: Vec<_> = (0..8).map(|number| (first + 3 * number).to_string()).collect();
        assert_eq!(handled(&db, aggregate), expected);
    }
}

#[cfg(feature = "failpoints")]
#[test]
fn a_kill_before_the_commit_leaves_everything_as_it_was() {
    let prepared = parked(4);
    for command in [
        &["replay", "orders", "--all"][..],
        &["replay", "orders", "--position", "7"],
        &["discard", "orders", "--all"],
        &["discard", "orders", "--position", "4"],
    ] {
        let [db, undisturbed] =
            [TestDatabase::copy_of(&prepared), TestDatabase::copy_of(&prepared)];
        let before = crate::state(&db);
        letters(&undisturbed, &[command, &["--yes"]].concat()).success();
        let line = ["projections", "dead-letters"].iter().chain(command).chain(&["--yes"]);
        let run = db.command(line).failpoints("projections::before_commit=return");
        run.run().killed();
        assert_eq!(crate::state(&db), before, "{command:?}");
        letters(&db, &[command, &["--yes"]].concat()).success();
        assert_eq!(crate::state(&db), crate::state(&undisturbed), "{command:?}");
    }
}
