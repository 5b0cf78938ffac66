//! What others do while a file is imported: writers, other imports, whoever holds a table, and
//! whoever writes to the file. Nothing here sleeps to hit a moment: locks hold the import.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};

use insta::assert_snapshot;
use postgres::Client;

use crate::event::{Event, count, event, heads, lines};
use crate::files::order;
use crate::support::{Append, Background, Output, TestDatabase, eventually};
use crate::{file, store, told};

/// Waits until so many imports wait for a lock of a table.
fn waits(db: &TestDatabase) {
    let sql = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'pupctl/events import'
            AND wait_event_type = 'Lock'";
    eventually("the import waits for a lock", || db.one::<i64>(sql) == 1);
}

/// Starts an import that waits for this lock, which is released with the transaction of the
/// session that is given back.
fn held(db: &TestDatabase, lock: &str, arguments: &[&str]) -> (Background, Client) {
    let mut holder = db.client();
    holder.batch_execute(&format!("BEGIN; LOCK TABLE {lock}")).expect("a lock");
    let import = ["events", "import"].iter().chain(arguments);
    let import = db.command(import).spawn();
    waits(db);
    (import, holder)
}

/// All checks have passed when an import wants to write to the journal.
const AFTER_CHECKS: &str = "pupctl_operations IN SHARE MODE";

/// Imports while somebody acts between the checks and the load.
fn between(db: &TestDatabase, arguments: &[&str], act: impl FnOnce()) -> Output {
    let (import, mut holder) = held(db, AFTER_CHECKS, arguments);
    act();
    holder.batch_execute("COMMIT").expect("its end");
    import.wait()
}

/// A writer's next event of the first order.
fn append(db: &TestDatabase, created_at: &str) {
    let event = Append { context: "Shop", id: "o-1", head: None, events: 1, created_at };
    event.run(&mut db.client()).expect("an event");
}

const MONTHS: [&str; 4] = ["--partition-by", "month", "--months", "0"];

/// A store with the first version of the first order, and the file of its next versions.
fn growing(layout: &[&str], more: i64) -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init"].iter().chain(layout)).success();
    let in_march = event(9, 1).with("created_at", "2024-03-03T00:00:00Z");
    let first = file(&db, lines(&[event(1, 1), in_march]));
    db.pupctl(["events", "import", first, "--create-partitions"]).success();
    let next: Vec<Event> = order(2, 3).into_iter().chain(order(1, more).split_off(1)).collect();
    file(&db, lines(&next));
    db
}

#[test]
fn a_writer_of_the_same_version_is_told_with_its_line() {
    let db = growing(&MONTHS, 4);
    let import = between(&db, &["events.ndjson"], || append(&db, "2024-02-03T00:00:00Z"));
    assert_snapshot!(told(&import.failure(1)), @"
    error: events.ndjson, line 4: somebody else wrote this event, or one of its version
      Key (bounded_context, aggregate_type, aggregate_id, aggregate_version)=(Shop, Order, o-1, 2) already exists.
    hint: run it again: what is there by then is told, or left out with --skip-existing
    ");
    assert_eq!(heads(&db), ["Shop|Order|o-1|2", "Shop|Order|o-9|1"]);
    assert_eq!(count(&db), 3);
    let again = db.pupctl(["events", "import", "events.ndjson"]).failure(1);
    assert!(again.stderr.contains("line 4: the store has version 2 of Order o-1"), "{again}");
}

#[test]
fn a_writer_in_another_partition_is_seen_by_the_head() {
    let db = growing(&MONTHS, 4);
    // No key reaches across months.
    let import = between(&db, &["events.ndjson"], || append(&db, "2024-03-05T00:00:00Z"));
    assert_snapshot!(told(&import.failure(1)), @"
    error: the head of an aggregate moved while the file was loaded
    hint: somebody else writes to these aggregates: run it again afterwards; or a trigger on the events table moves the heads: disable it for the import
    ");
    assert_eq!(heads(&db), ["Shop|Order|o-1|2", "Shop|Order|o-9|1"]);
    assert_eq!(count(&db), 3);
}

#[test]
fn a_writer_that_makes_the_aggregate_is_seen_by_the_head() {
    let db = growing(&MONTHS, 4);
    let import = between(&db, &["events.ndjson"], || {
        let created_at = "2024-03-05T00:00:00Z";
        let event = Append { context: "Shop", id: "o-2", head: None, events: 1, created_at };
        event.run(&mut db.client()).expect("an event");
    });
    let told = told(&import.failure(1));
    assert!(told.contains("the head of an aggregate moved while the file was loaded"), "{told}");
    assert_eq!(count(&db), 3);
    assert_eq!(db.journal().last().expect("a row"), "events import: failed");
}

#[test]
fn what_fails_at_the_first_line_of_a_long_file_is_told() {
    let db = growing(&["--partition-by", "none"], 30_000);
    let import = between(&db, &["events.ndjson"], || append(&db, "2024-02-03T00:00:00Z"));
    let told = told(&import.failure(1));
    assert!(told.contains("events.ndjson, line 4: somebody else wrote this event"), "{told}");
    assert_eq!(count(&db), 3);
}

#[test]
fn writers_of_other_aggregates_do_not_matter() {
    let db = growing(&MONTHS, 4);
    between(&db, &["events.ndjson"], || {
        let created_at = "2024-02-05T00:00:00Z";
        let event = Append { context: "Shop", id: "o-7", head: None, events: 2, created_at };
        event.run(&mut db.client()).expect("events");
    })
    .success();
    let all = ["Shop|Order|o-1|4", "Shop|Order|o-2|3", "Shop|Order|o-7|2", "Shop|Order|o-9|1"];
    assert_eq!(heads(&db), all);
}

#[test]
fn the_second_import_is_turned_away_or_waits() {
    let db = growing(&MONTHS, 4);
    let (first, mut holder) = held(&db, AFTER_CHECKS, &["events.ndjson"]);
    let busy = db.pupctl(["events", "import", "events.ndjson"]).failure(4);
    assert!(busy.stderr.contains("another pupctl works on the store"), "{busy}");
    // A dry run does not mind.
    db.pupctl(["events", "import", "events.ndjson", "--dry-run"]).success();
    let waiting = [&["--skip-existing"][..], &[]].map(|more| {
        let wait = ["events", "import", "events.ndjson", "--wait", "60s"];
        db.command(wait.iter().chain(more)).spawn()
    });
    holder.batch_execute("COMMIT").expect("its end");
    first.wait().success();
    let [skips, refuses] = waiting.map(Background::wait);
    assert!(skips.success().stderr.contains("Nothing to do: the store has all 6 events"));
    let refuses = refuses.failure(1);
    assert!(refuses.stderr.contains("line 1: the store has this event already"), "{refuses}");
    assert_eq!(count(&db), 2 + 6);
}

/// Changes the file between the two readings, which must be noticed.
fn changed(change: impl FnOnce(&mut std::fs::File)) {
    let db = growing(&MONTHS, 4);
    let import = between(&db, &["events.ndjson"], || {
        let path = db.folder().join("events.ndjson");
        change(&mut OpenOptions::new().write(true).open(path).expect("the file"));
    });
    let told = told(&import.failure(1));
    assert_eq!(
        told,
        "error: events.ndjson changed while it was imported\n\
         hint: run it again when nobody writes to the file any more\n"
    );
    assert_eq!(heads(&db), ["Shop|Order|o-1|1", "Shop|Order|o-9|1"]);
    assert_eq!(count(&db), 2);
    assert_eq!(db.journal().last().expect("a row"), "events import: failed");
}

#[test]
fn a_file_that_grows_is_refused() {
    changed(|file| {
        file.seek(SeekFrom::End(0)).expect("its end");
        file.write_all(lines(&order(3, 1)).as_bytes()).expect("a line");
    });
}

#[test]
fn a_file_in_which_a_byte_changes_is_refused() {
    changed(|file| {
        let place = lines(&order(2, 1)).find("OrderPlaced").expect("a type");
        file.seek(SeekFrom::Start(place as u64)).expect("the place");
        file.write_all(b"o").expect("a byte");
    });
}

#[test]
fn a_file_that_gets_shorter_is_refused() {
    changed(|file| file.set_len(lines(&order(2, 2)).len() as u64).expect("a length"));
    changed(|file| file.set_len(0).expect("a length"));
    changed(|file| file.set_len(lines(&order(2, 2)).len() as u64 - 5).expect("a length"));
}

#[test]
fn a_file_that_is_replaced_is_read_to_its_end() {
    let db = growing(&MONTHS, 4);
    between(&db, &["events.ndjson"], || {
        std::fs::remove_file(db.folder().join("events.ndjson")).expect("it was there");
        file(&db, "something else\n");
    })
    .success();
    assert_eq!(count(&db), 2 + 6);
}

#[test]
fn locks_that_somebody_holds_are_awaited_for_the_budget() {
    let db = growing(&MONTHS, 4);
    let import = ["events.ndjson", "--lock-budget", "300ms"];
    let before = (count(&db), heads(&db));
    let mut holder = db.client();
    for table in ["events", "aggregate_heads"] {
        for mode in ["SHARE", "ACCESS EXCLUSIVE"] {
            let lock = format!("BEGIN; LOCK TABLE {table} IN {mode} MODE");
            let run = between(&db, &import, || holder.batch_execute(&lock).expect("a lock"));
            let told = told(&run.failure(5));
            let expected = "error: the locks on the store's tables were not obtained\n";
            assert!(told.starts_with(expected), "{table} {mode}: {told}");
            assert!(told.contains("hint: try again, or for longer: --lock-budget 2m"), "{told}");
            holder.batch_execute("ROLLBACK").expect("its end");
            assert_eq!((count(&db), heads(&db)), before);
        }
    }
    db.pupctl(["events", "import"].iter().chain(&import)).success();
}

#[test]
fn a_signal_ends_it_at_any_time() {
    let checks = "aggregate_heads IN ACCESS EXCLUSIVE MODE";
    let heads_of_load = "aggregate_heads IN SHARE MODE";
    let rows = "events_2024_02 IN SHARE MODE";
    for lock in [checks, AFTER_CHECKS, heads_of_load, rows] {
        let db = growing(&MONTHS, 12_000);
        let before = (count(&db), heads(&db));
        let budget = ["events.ndjson", "--lock-budget", "10m"];
        let (import, mut holder) = held(&db, lock, &budget);
        import.signal("INT");
        let output = import.wait().failure(130);
        assert!(output.stderr.starts_with("error: interrupted\n"), "{lock}: {output}");
        assert_eq!(output.stdout, "");
        holder.batch_execute("COMMIT").expect("its end");
        assert_eq!((count(&db), heads(&db)), before, "{lock}");
        // It has a row in the journal when the load begins.
        let loads = [heads_of_load, rows].contains(&lock);
        let outcome = if loads { "events import: interrupted" } else { "events import: done" };
        assert_eq!(db.journal().last().expect("a row"), outcome, "{lock}");
        db.pupctl(["events", "import", "events.ndjson", "--wait", "60s"]).success();
        assert_eq!(count(&db), 2 + 3 + 11_999);
    }
}

#[test]
fn a_trigger_that_leaves_events_out_is_noticed() {
    let db = store(["--partition-by", "none"]);
    db.execute(
        "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER skip BEFORE INSERT ON events FOR EACH ROW
            WHEN (new.aggregate_version = 2) EXECUTE FUNCTION skip()",
    );
    let file = file(&db, lines(&order(1, 3)));
    let output = db.pupctl(["events", "import", file]).failure(1);
    assert_snapshot!(told(&output), @r"
    error: 3 events were sent, but 2 went in
    hint: a trigger on the events table leaves some out: see \d of the table in psql
    ");
    assert_eq!((count(&db), heads(&db).len()), (0, 0));
}
