//! Killed at any moment: the same command again ends where an undisturbed run ends, `operations
//! resume` too, and `operations abort` brings everything back.

use crate::everywhere;
use crate::kills::Scenario;
use crate::support::TestDatabase;
use crate::{archive, archives, checkpoint, events, leaf, restore, store, verified};

/// The same command again.
fn again<'a>(command: &'a [&'a str]) -> impl Fn(&TestDatabase, &str) + 'a {
    move |db, place| {
        let run = db.pupctl(command.iter().chain(&["--yes", "--wait", "60s"]));
        assert!(run.code == Some(0), "{place}\n{run}");
    }
}

/// Everywhere, and at some random moments.
fn kill(prepared: TestDatabase, command: &[&str], points: &[&str]) {
    let scenario = Scenario::new(prepared, command);
    assert_eq!(scenario.reached(), points);
    scenario.kill_everywhere(&again(command));
    scenario.kill_at_random(3, &again(command));
}

/// The points of every archive that writes a file.
const FILE: [&str; 5] = [
    "archive::after_rename",
    "archive::before_rename",
    "archive::begun",
    "archive::proven",
    "archive::written",
];

fn points<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut points = [FILE.as_slice(), more].concat();
    points.sort_unstable();
    points
}

fn month() -> (TestDatabase, String) {
    let db = store("month", &[]);
    for ahead in [-2, -1, 0] {
        events(&db, "A", ahead, 4);
    }
    checkpoint(&db, "orders", 100);
    let month = db.month(-2);
    (db, month)
}

fn context() -> TestDatabase {
    let db = store("context", &["--immutable", "--event-ids"]);
    events(&db, "A", 0, 4);
    events(&db, "B", 0, 4);
    checkpoint(&db, "orders", 8);
    db
}

#[test]
fn a_month_leaves_concurrently_and_is_dropped() {
    let (db, month) = month();
    let points = points(&[
        "archive::departed",
        "archive::dropped",
        "archive::listed",
        "archive::looked",
        "archive::published",
    ]);
    kill(db, &["archive", &month, "--drop"], &points);
}

#[test]
fn a_month_leaves_at_once_beside_a_default_partition() {
    let (db, month) = month();
    db.execute("CREATE TABLE events_default PARTITION OF events DEFAULT");
    let points =
        points(&["archive::departed", "archive::listed", "archive::looked", "archive::published"]);
    kill(db, &["archive", &month, "--format", "copy"], &points);
}

#[test]
fn a_context_leaves_and_an_empty_leaf_takes_its_place() {
    let more = [
        "archive::departed",
        "archive::listed",
        "archive::looked",
        "archive::published",
        "archive::replaced",
    ];
    kill(context(), &["archive", "a"], &points(&more));
}

#[test]
fn several_shares_of_a_hash_leave() {
    let db = store("context,hash", &[]);
    events(&db, "A", 0, 6);
    let more = [
        "archive::departed",
        "archive::dropped",
        "archive::listed",
        "archive::looked",
        "archive::published",
        "archive::replaced",
    ];
    kill(db, &["archive", "A", "--drop", "--format", "copy"], &points(&more));
}

#[test]
fn a_copy_leaves_everything_where_it_is() {
    let (db, month) = month();
    kill(db, &["archive", &month, "--copy-only"], &points(&["archive::published"]));
}

#[test]
fn a_kept_table_is_dropped() {
    let db = context();
    archive(&db, &["A"]).success();
    kill(db, &["archive", "A", "--drop"], &["archive::dropped"]);
}

#[test]
fn a_dropped_month_comes_back() {
    let (db, month) = month();
    archive(&db, &[&month, "--drop"]).success();
    let points =
        ["restore::attached", "restore::before_loaded", "restore::loaded", "restore::recorded"];
    kill(db, &["restore", &month], &points);
}

#[test]
fn a_kept_month_comes_back() {
    let (db, month) = month();
    archive(&db, &[&month]).success();
    kill(db, &["restore", &month], &["restore::attached", "restore::recorded"]);
}

#[test]
fn rows_join_a_leaf_that_is_written_to() {
    let db = context();
    archive(&db, &["A", "--drop"]).success();
    events(&db, "A", 1, 2);
    let points = [
        "restore::before_join",
        "restore::before_loaded",
        "restore::dropped",
        "restore::joined",
        "restore::loaded",
        "restore::recorded",
    ];
    kill(db, &["restore", "A", "--batch=3"], &points);
}

#[test]
fn rows_of_a_kept_table_join() {
    let db = context();
    archive(&db, &["A"]).success();
    let points =
        ["restore::before_join", "restore::dropped", "restore::joined", "restore::recorded"];
    kill(db, &["restore", "A", "--batch=3"], &points);
}

#[test]
fn an_empty_leaf_makes_room() {
    let db = store("context", &[]);
    events(&db, "A", 0, 4);
    archive(&db, &["A", "--drop"]).success();
    let points =
        ["restore::before_loaded", "restore::loaded", "restore::recorded", "restore::replaced"];
    kill(db, &["restore", "A", "--replace"], &points);
}

#[test]
fn a_rehearsal_is_begun_again() {
    let (db, month) = month();
    archive(&db, &[&month, "--drop"]).success();
    let points = ["restore::before_loaded", "restore::loaded", "restore::rehearsed"];
    kill(db, &["restore", &month, "--into", "rehearsal"], &points);
}

#[test]
fn a_context_retires_with_its_heads_and_comes_back() {
    let db = store("context", &[]);
    events(&db, "A", 0, 2);
    let more = [
        "archive::before_heads",
        "archive::departed",
        "archive::dropped",
        "archive::listed",
        "archive::looked",
        "archive::published",
        "archive::retired",
        "archive::took_heads",
    ];
    let heads = "SELECT aggregate_id || aggregate_version FROM public.aggregate_heads ORDER BY 1";
    let before = (everywhere::of_store(&db), db.texts(heads));
    let retire = ["archive", "A", "--retire", "--with-heads", "--drop"];
    let scenario = Scenario::new(db, &retire);
    assert_eq!(scenario.reached(), points(&more));
    scenario.kill_once(&again(&retire));
    let db = scenario.copy();
    db.pupctl(scenario.line()).success();
    let restore = ["restore", "A"];
    let scenario = Scenario::new(db, &restore);
    for point in ["restore::before_heads", "restore::recalled", "restore::replaced"] {
        assert!(scenario.reached().contains(&point), "{point}: {:?}", scenario.reached());
    }
    for point in scenario.reached() {
        let db = scenario.copy();
        let points = format!("{point}=return");
        let _ = db.command(scenario.line()).failpoints(&points).run().killed();
        again(&restore)(&db, point);
        // Whether the empty leaf made room or was joined, all of it is there.
        assert_eq!(everywhere::of_store(&db), before.0, "{point}");
        assert_eq!(db.texts(heads), before.1, "{point}");
        assert_eq!(everywhere::outside(&db), Vec::<String>::new(), "{point}");
        verified(&db);
    }
}

/// The number of the run that was killed; none where it had not begun a row.
fn killed(db: &TestDatabase, command: &str) -> Option<String> {
    let ids = db.texts(&format!(
        "SELECT id::text FROM public.pupctl_operations
         WHERE command = '{command}' AND outcome = 'running' AND state IS NOT NULL"
    ));
    ids.into_iter().next()
}

fn resumed_or_again<'a>(command: &'a [&'a str]) -> impl Fn(&TestDatabase, &str) + 'a {
    let again = again(command);
    move |db, place| {
        let Some(id) = killed(db, command[0]) else { return again(db, place) };
        let listed = db.pupctl(["operations", "list", "--unfinished"]).success();
        assert!(listed.stdout.contains(&id), "{place}\n{listed}");
        let run = db.pupctl(["operations", "resume", &id, "--yes", "--wait", "60s"]);
        assert!(run.code == Some(0), "{place}\n{run}");
    }
}

#[test]
fn resume_does_what_the_same_command_does() {
    let (db, month) = month();
    let command = ["archive", &month, "--drop"];
    let scenario = Scenario::new(db, &command);
    scenario.kill_once(&resumed_or_again(&command));
    let db = context();
    archive(&db, &["A", "--drop"]).success();
    let command = ["restore", "A", "--batch=3"];
    let scenario = Scenario::new(db, &command);
    scenario.kill_once(&resumed_or_again(&command));
}

/// Aborts whatever was killed, wherever; then everything is where it was.
fn abort_everywhere(prepared: TestDatabase, command: &[&str]) {
    let scenario = Scenario::new(prepared, command);
    let before = everywhere::of_store(scenario.prepared());
    for point in scenario.reached() {
        let db = scenario.copy();
        let run = db.command(scenario.line()).failpoints(&format!("{point}=return")).run().killed();
        let id = killed(&db, command[0]).expect("a row");
        let abort = ["operations", "abort", &id, "--yes", "--wait", "60s"];
        let aborted = db.pupctl(abort).success();
        let proven = db.texts(
            "SELECT name FROM public.pupctl_archives WHERE phase IN ('published', 'dropped')",
        );
        if command[0] == "archive" && !proven.is_empty() {
            // Too late to call it off: it is proven, and comes back as every archive.
            restore(&db, &[&proven[0]]).success();
        }
        let here = format!("{point}\n{run}\n{aborted}");
        assert_eq!(everywhere::of_store(&db), before, "{here}");
        assert_eq!(everywhere::outside(&db), Vec::<String>::new(), "{here}");
        assert!(!everywhere::state(&db).contains(".partial"), "{here}");
        verified(&db);
        db.pupctl(abort).failure(0);
        let left = db.pupctl(["operations", "list", "--unfinished", "-o", "json"]).success();
        assert_eq!(left.json()["operations"], serde_json::json!([]), "{here}");
        // And from the beginning.
        archive(&db, &command[1..]).success();
    }
}

#[test]
fn abort_brings_a_month_back() {
    let (db, month) = month();
    abort_everywhere(db, &["archive", &month]);
}

#[test]
fn abort_brings_a_context_back() {
    abort_everywhere(context(), &["archive", "A"]);
}

#[test]
fn abort_of_a_restore_leaves_the_archive() {
    let (db, month) = month();
    archive(&db, &[&month, "--drop"]).success();
    let store = everywhere::of_store(&db);
    let scenario = Scenario::new(db, &["restore", &month]);
    for point in ["restore::before_loaded", "restore::loaded"] {
        let db = scenario.copy();
        let points = format!("{point}=return");
        let _ = db.command(scenario.line()).failpoints(&points).run().killed();
        let id = killed(&db, "restore").expect("a row");
        db.pupctl(["operations", "abort", &id, "--yes", "--wait", "60s"]).success();
        assert_eq!(everywhere::outside(&db), Vec::<String>::new(), "{point}");
        assert_eq!(everywhere::of_store(&db), store);
        archive_is_whole(&db);
        restore(&db, &[&month]).success();
    }
}

fn archive_is_whole(db: &TestDatabase) {
    db.pupctl(["archive", "verify"]).success();
}

#[test]
fn an_abort_that_was_killed_is_finished_by_the_next() {
    let db = context();
    let archive = ["archive", "A", "--yes"];
    let _ = db.command(archive).failpoints("archive::written=return").run().killed();
    let id = killed(&db, "archive").expect("a row");
    let command = ["operations", "abort", &id];
    let scenario = Scenario::new(db, &command);
    scenario.kill_everywhere(&again(&command));
    scenario.kill_at_random(3, &again(&command));
}

#[test]
fn what_somebody_else_began_does_not_expire() {
    let db = store("month", &[]);
    for ahead in [-3, -1] {
        events(&db, "A", ahead, 2);
    }
    let month = db.month(-1);
    let line = ["archive", &month, "--yes"];
    let _ = db.command(line).failpoints("archive::written=return").run().killed();
    let config = "[archive]\nretention = \"1 month\"\n";
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a file");
    archive(&db, &["--expired", "--drop"]).success();
    let phases = [(-1, "detached"), (-3, "dropped")];
    let phases = phases.map(|(ahead, phase)| format!("{}: {phase}", leaf(&db, "events", ahead)));
    assert_eq!(archives(&db), phases);
    archive(&db, &[&month]).success();
    assert_eq!(everywhere::outside(&db).len(), 1);
}
