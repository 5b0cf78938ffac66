//! Killed at every step, and started twice at once: the store is as if nothing had happened.

use crate::support::{Background, TestDatabase};
use crate::{attach, detach, events, leaf, rows, store, verified};

/// The points that a run passes with so many steps, of which so many are transactions.
fn points(steps: usize, transactions: usize) -> Vec<(&'static str, usize)> {
    vec![
        ("lock::taken", 1),
        ("operation::started", 1),
        ("execute::before_step", steps),
        ("execute::before_commit", transactions),
        ("execute::after_step", steps),
        ("operation::before_end", 1),
    ]
}

/// A store by context and month, with events of a past month.
fn prepared() -> TestDatabase {
    let db = store("context,month");
    events(&db, "A", -3, 20);
    events(&db, "A", -2, 5);
    db
}

/// Kills the command at each point, each time that it is reached, and runs it again.
fn kill_everywhere(
    prepare: impl Fn() -> TestDatabase,
    command: impl Fn(&TestDatabase) -> Vec<String>,
    points: &[(&str, usize)],
) {
    let undisturbed = prepare();
    let next = points.iter().map(|(point, times)| format!("{point}={times}*off->return"));
    let next = next.collect::<Vec<_>>().join(";");
    undisturbed.command(command(&undisturbed)).failpoints(&next).run().success();
    let dump = undisturbed.dump();
    for &(point, times) in points {
        for passed in 0..times {
            let db = prepare();
            let action = if passed == 0 { String::new() } else { format!("{passed}*off->") };
            let run = db.command(command(&db)).failpoints(&format!("{point}={action}return"));
            let killed = run.run().killed();
            let mut again = command(&db);
            again.extend(["--wait".to_owned(), "60s".to_owned()]);
            let again = db.pupctl(again).success();
            assert_eq!(db.dump(), dump, "{point} after {passed}\n{killed}\n{again}");
        }
    }
}

#[test]
fn a_detach_is_finished_by_the_next_run() {
    let command = |how: &'static [&'static str]| {
        move |db: &TestDatabase| {
            let place = format!("A/{}", db.month(-3));
            let words = ["partitions", "detach", &place].into_iter().chain(how.iter().copied());
            words.map(str::to_owned).collect()
        }
    };
    // The comment, and the detach that is no transaction.
    kill_everywhere(prepared, command(&[]), &points(2, 1));
    // The detach with comment and CHECK, and the proof.
    kill_everywhere(prepared, command(&["--at-once"]), &points(2, 2));
}

#[test]
fn an_attachment_is_finished_by_the_next_run() {
    let prepare = || {
        let db = prepared();
        let name = leaf(&db, "events_a", -3);
        db.execute(&format!(
            "DROP TABLE {name}; CREATE TABLE other (LIKE events INCLUDING DEFAULTS);
             INSERT INTO other SELECT (jsonb_populate_record(event, jsonb_build_object(
                'event_id', gen_random_uuid(), 'aggregate_id', 'x' || aggregate_id,
                'created_at', '{}-03 00:00:00+00', 'global_position', 100 + global_position))).*
             FROM events AS event",
            db.month(-3)
        ));
        db
    };
    let command = |db: &TestDatabase| {
        let place = format!("A/{}", db.month(-3));
        ["partitions", "attach", "other", "--as", &place].map(str::to_owned).to_vec()
    };
    // The sequence, attributes, three keys, an index, CHECK and proof, the attachment; statistics.
    kill_everywhere(prepare, command, &points(10, 9));
}

/// Starts the command several times at once: one does the work, the others find it done.
fn race(db: &TestDatabase, command: &[&str]) {
    let words = || command.iter().chain(&["--wait", "60s"]);
    let started: Vec<Background> = (0..3).map(|_| db.command(words()).spawn()).collect();
    let outputs: Vec<_> = started.into_iter().map(|run| run.wait().success()).collect();
    let told = |word: &str| outputs.iter().filter(|one| one.stderr.contains(word)).count();
    assert_eq!((told("Done:"), told("Nothing to do")), (1, 2), "{outputs:?}");
}

#[test]
fn several_at_once_do_it_once() {
    let db = prepared();
    let (name, before) = (leaf(&db, "events_a", -3), rows(&db, "events"));
    race(&db, &["partitions", "detach", &name]);
    race(&db, &["partitions", "attach", &name]);
    race(&db, &["partitions", "detach", &name, "--at-once"]);
    race(&db, &["partitions", "attach", &name]);
    assert_eq!(rows(&db, "events"), before);
    verified(&db);
}

#[test]
fn a_dry_run_prints_what_is_done() {
    let [by_psql, by_pupctl] = [prepared(), prepared()];
    let name = leaf(&by_psql, "events_a", -3);
    let place = format!("A/{}", by_psql.month(-3));
    let commands = [
        vec!["partitions", "detach", &place],
        vec!["partitions", "attach", &name],
        vec!["partitions", "detach", &place, "--at-once"],
        vec!["partitions", "attach", &name],
    ];
    for command in commands {
        let before = by_psql.dump();
        let dry = by_psql.pupctl(command.iter().chain(&["--dry-run"])).success();
        assert!(dry.stderr.contains("nothing was changed"), "{dry}");
        assert_eq!(by_psql.dump(), before);
        std::fs::write(by_psql.folder().join("script.sql"), &dry.stdout).expect("a script");
        by_psql.psql(["-f", "script.sql"]).success();
        by_pupctl.pupctl(&command).success();
        assert_eq!(by_psql.dump(), by_pupctl.dump(), "{command:?}");
    }
    let _ = (detach(&by_psql, &["A/1999-01"]).failure(2), attach(&by_psql, &["none"]).failure(2));
}
