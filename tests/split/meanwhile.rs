//! Others write and read while a partition is split.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use postgres::Client;

use crate::support::{Append, TestDatabase, event_id, eventually};
use crate::{all, fill, nothing_is_left, split, store};

/// Appends to new aggregates until it is told to stop. Gives back how many events, and the longest
/// time that one took.
fn write(db: &TestDatabase, done: &AtomicBool, written: &AtomicI64) -> (i64, Duration) {
    let mut client = db.client();
    let (mut count, mut longest) = (0, Duration::ZERO);
    while !done.load(Ordering::SeqCst) {
        let id = event_id();
        let begin = Instant::now();
        let append = Append { context: "A", id: &id, head: Some(0), events: 2, created_at: "now" };
        append.run(&mut client).expect("an append");
        longest = longest.max(begin.elapsed());
        count += 2;
        written.fetch_add(2, Ordering::SeqCst);
    }
    (count, longest)
}

/// Counts again and again; nothing is hidden and nothing is there twice.
fn read(
    db: &TestDatabase,
    done: &AtomicBool,
    written: &AtomicI64,
    count: impl Fn(&mut Client) -> (i64, i64),
) -> i64 {
    let mut client = db.client();
    let mut reads = 0;
    while !done.load(Ordering::SeqCst) {
        let least = written.load(Ordering::SeqCst);
        let (rows, distinct) = count(&mut client);
        assert!(rows >= least, "{rows} rows, but {least} were there");
        assert_eq!(rows, distinct, "doubled");
        reads += 1;
    }
    reads
}

const COUNT: &str = "SELECT count(*), count(DISTINCT global_position) FROM events";

fn plain(client: &mut Client) -> (i64, i64) {
    let row = client.query_one(COUNT, &[]).expect("a count");
    (row.get(0), row.get(1))
}

fn repeatable(client: &mut Client) -> (i64, i64) {
    let mut transaction = client
        .build_transaction()
        .isolation_level(postgres::IsolationLevel::RepeatableRead)
        .start()
        .expect("a transaction");
    let counts = |transaction: &mut postgres::Transaction<'_>| {
        let row = transaction.query_one(COUNT, &[]).expect("a count");
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    let first = counts(&mut transaction);
    let second = counts(&mut transaction);
    assert_eq!(first, second, "a snapshot has changed");
    first
}

fn within_a_function(client: &mut Client) -> (i64, i64) {
    let row = client.query_one("SELECT * FROM counted()", &[]).expect("a count");
    (row.get(0), row.get(1))
}

#[test]
fn nobody_misses_a_row() {
    let db = store("month", &["--event-ids"], "events", 1);
    fill(&db, "A", &db.month(-1), 30_000);
    fill(&db, "A", &db.month(0), 15_000);
    db.execute(
        "CREATE FUNCTION counted(OUT all_rows bigint, OUT different bigint) LANGUAGE plpgsql AS
         $$ BEGIN EXECUTE 'SELECT count(*), count(DISTINCT global_position) FROM public.events'
            INTO all_rows, different; END $$",
    );
    let (done, written) = (AtomicBool::new(false), AtomicI64::new(45_000));
    let longest = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2).map(|_| scope.spawn(|| write(&db, &done, &written))).collect();
        let readers = [
            scope.spawn(|| read(&db, &done, &written, plain)),
            scope.spawn(|| read(&db, &done, &written, repeatable)),
            scope.spawn(|| read(&db, &done, &written, within_a_function)),
        ];
        std::thread::sleep(Duration::from_millis(300));
        let told = split(&db, &["heap", "--lock-budget", "60s"]);
        std::thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::SeqCst);
        told.success();
        for reader in readers {
            assert!(reader.join().expect("a reader") > 3);
        }
        let ends: Vec<_> = writers.into_iter().map(|w| w.join().expect("a writer")).collect();
        let count: i64 = ends.iter().map(|(count, _)| count).sum();
        assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 45_000 + count);
        ends.into_iter().map(|(_, longest)| longest).max().expect("a writer")
    });
    assert!(longest < Duration::from_secs(2), "a writer waited {longest:?}");
    let month = db.month(0).replace('-', "_");
    let current = format!("SELECT count(*) FROM ONLY events_{month}");
    assert_eq!(db.one::<i64>(&current), db.one::<i64>("SELECT count(*) - 30000 FROM events"));
    nothing_is_left(&db);
    db.pupctl(["schema", "verify"]).success();
}

#[test]
fn a_snapshot_from_before_is_waited_for() {
    let db = store("month", &[], "events", 1);
    fill(&db, "A", &db.month(-1), 100);
    let mut reader = db.client();
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class")
        .expect("a snapshot");
    let mut run = db.command(["partitions", "split", "heap", "--lock-budget", "60s"]).spawn();
    eventually("all is copied", || {
        db.one::<bool>("SELECT to_regclass('events_split') IS NOT NULL")
            && db.one::<i64>("SELECT count(*) FROM events_split") == 100
    });
    std::thread::sleep(Duration::from_millis(500));
    assert!(run.is_running());
    let row = reader.query_one("SELECT count(*) FROM events", &[]).expect("a count");
    assert_eq!(row.get::<_, i64>(0), 100);
    reader.batch_execute("COMMIT").expect("the end");
    let told = run.wait().success();
    assert!(told.stderr.contains("Waiting for older readers: process"), "{told}");
    nothing_is_left(&db);
}

#[cfg(feature = "failpoints")]
#[test]
fn a_writer_that_keeps_its_snapshot_sees_what_came_before() {
    let db = store("month", &[], "events", 1);
    fill(&db, "A", &db.month(-1), 100);
    let begin = "SET pupctl.maintenance = on; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1";
    let (mut reader, mut writer) = (db.client(), db.client());
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class";
    reader.batch_execute(hold).expect("a snapshot");
    let words = ["partitions", "split", "heap", "--lock-budget", "60s"];
    let command = db.command(words).failpoints("transfer::rows_come=return");
    let mut run = command.hold_at("transfer::tail_copied").spawn();
    eventually("it looks for older readers", || {
        db.one(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE pid <> pg_backend_pid()
                AND datname = current_database()
                AND query LIKE '-- Sessions of this database that may hold%'",
        )
    });
    fill(&db, "A", &db.month(0), 5);
    writer.batch_execute(begin).expect("a snapshot");
    reader.batch_execute("COMMIT").expect("the end");
    run.reached();
    let insert = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
         VALUES ('A', 'Order', 'kept', 1, gen_random_uuid(), 'OrderPlaced', 'x')";
    std::thread::scope(|scope| {
        let inserting = scope.spawn(|| writer.batch_execute(insert));
        eventually("the writer waits", || {
            db.one(
                "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'events'::regclass
                    AND mode = 'RowExclusiveLock' AND NOT granted",
            )
        });
        run.release();
        inserting.join().expect("no panic").expect("an event");
    });
    assert_eq!(plain(&mut writer).0, 106);
    writer.batch_execute("COMMIT").expect("the end");
    run.wait().success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 106);
    nothing_is_left(&db);
}

/// What a statement is refused with.
#[track_caller]
fn refusal(client: &mut Client, sql: &str) -> (String, String) {
    let error = client.batch_execute(sql).expect_err(sql);
    let error = error.as_db_error().expect("the server's word");
    (error.message().to_owned(), error.hint().unwrap_or_default().to_owned())
}

#[test]
fn changes_are_refused_until_it_is_done_or_called_off() {
    let db = store("month", &[], "events", 1);
    fill(&db, "A", &db.month(-1), 100);
    let mut reader = db.client();
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class";
    reader.batch_execute(hold).expect("a snapshot");
    let run = db.command(["partitions", "split", "heap", "--lock-budget", "4s"]).spawn();
    eventually("all is copied", || {
        db.one::<bool>("SELECT to_regclass('events_split') IS NOT NULL")
            && db.one::<i64>("SELECT count(*) FROM events_split") == 100
    });
    let rows = all(&db);
    let mut other = db.client();
    for (sql, verb) in [
        ("DELETE FROM events WHERE global_position = 7", "DELETE"),
        ("UPDATE events SET payload = 'y' WHERE global_position = 8", "UPDATE"),
        ("UPDATE heap SET payload = 'y' WHERE global_position = 8", "UPDATE"),
        ("TRUNCATE events", "TRUNCATE"),
    ] {
        let (message, hint) = refusal(&mut other, sql);
        let told = format!("{verb} of public.heap is refused while it is split into months");
        assert_eq!(message, told, "{sql}");
        assert!(hint.ends_with("pupctl operations abort 'heap:split'"), "{hint}");
    }
    assert_eq!(all(&db), rows);
    let told = run.wait().failure(5);
    assert!(told.stderr.contains("changes of its rows are refused, unless"), "{told}");
    let check = db.pupctl(["partitions", "check", "-o", "json"]).success().json();
    assert!(!check.to_string().contains("extra_trigger"), "{check}");
    refusal(&mut other, "DELETE FROM events WHERE global_position = 7");

    db.pupctl(["operations", "abort", "heap:split", "--wait", "60s"]).success();
    let functions = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'pupctl_split%'";
    assert_eq!(db.one::<i64>(functions), 0);
    db.pupctl(["schema", "verify"]).success();
    other.batch_execute("DELETE FROM events WHERE global_position = 7").expect("a delete");
    reader.batch_execute("COMMIT").expect("the end");
    let rows = all(&db);
    assert_eq!(rows.len(), 99);
    split(&db, &["heap", "--keep"]).success();
    assert_eq!(all(&db), rows);
    for change in ["UPDATE events SET payload = 'z'", "DELETE FROM heap_before_split"] {
        other.batch_execute(change).expect(change);
    }
    assert_eq!(db.one::<i64>(functions), 0);
}

#[test]
fn two_at_once() {
    let db = store("month", &[], "events", 1);
    fill(&db, "A", &db.month(-1), 2000);
    let rows = all(&db);
    let command = ["partitions", "split", "heap", "--wait", "60s"];
    let runs: Vec<_> = (0..3).map(|_| db.command(command).spawn()).collect();
    let told: Vec<_> = runs.into_iter().map(|run| run.wait().success().stderr).collect();
    assert_eq!(told.iter().filter(|told| told.contains("Done:")).count(), 1, "{told:?}");
    assert_eq!(all(&db), rows);
    nothing_is_left(&db);
}
