//! Others write and read while rows move.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Background, TestDatabase, event_id, eventually};
use crate::{drain, fill, insert, nothing_is_left, rows, store};

/// Appends one event after the other to DEFAULT until it is told to stop. Gives back how many, and
/// the longest time that one took.
fn write(
    db: &TestDatabase,
    created_at: &str,
    done: &AtomicBool,
    last: &AtomicI64,
) -> (i64, Duration) {
    let mut client = db.client();
    client.batch_execute("SET pupctl.maintenance = on").expect("a setting");
    let (mut count, mut longest) = (0, Duration::ZERO);
    while !done.load(Ordering::SeqCst) {
        let id = event_id();
        let begin = Instant::now();
        client.batch_execute(&insert("events", "A", &id, created_at)).expect("an insert");
        longest = longest.max(begin.elapsed());
        count += 1;
        last.fetch_add(1, Ordering::SeqCst);
    }
    (count, longest)
}

#[test]
fn writers_and_readers_go_on_and_nobody_misses_a_row() {
    let db = store("month", &[], &["events"]);
    let month = db.month(-1);
    fill(&db, "A", &month, 60_000);
    let created_at = format!("{month}-02T00:00:00Z");
    let (done, written) = (AtomicBool::new(false), AtomicI64::new(60_000));
    let longest = std::thread::scope(|scope| {
        let writers: Vec<_> =
            (0..2).map(|_| scope.spawn(|| write(&db, &created_at, &done, &written))).collect();
        let readers = [
            // What a statement sees at its beginning, through a plan that is older.
            (
                "PREPARE q AS SELECT count(*), count(DISTINCT global_position) FROM events",
                "EXECUTE q",
            ),
            ("", "SELECT count(*), count(DISTINCT global_position) FROM events"),
        ];
        let readers: Vec<_> = readers
            .into_iter()
            .map(|(prepare, query)| {
                let (db, done, written) = (&db, &done, &written);
                scope.spawn(move || {
                    let mut client = db.client();
                    client.batch_execute(prepare).expect("prepared");
                    let mut reads = 0;
                    while !done.load(Ordering::SeqCst) {
                        let least = written.load(Ordering::SeqCst);
                        let messages = client.simple_query(query).expect("a read");
                        let counts: Vec<i64> = messages
                            .iter()
                            .filter_map(|message| match message {
                                postgres::SimpleQueryMessage::Row(row) => Some(row),
                                _ => None,
                            })
                            .flat_map(|row| {
                                (0..2).map(|at| {
                                    row.get(at).expect("a count").parse().expect("a number")
                                })
                            })
                            .collect();
                        assert!(counts[0] >= least, "{counts:?}, but {least} were there");
                        assert_eq!(counts[0], counts[1], "doubled");
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        let told = drain(&db, &[]);
        std::thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::SeqCst);
        told.success();
        for reader in readers {
            assert!(reader.join().expect("a reader") > 3);
        }
        let ends: Vec<_> = writers.into_iter().map(|w| w.join().expect("a writer")).collect();
        let count: i64 = ends.iter().map(|(count, _)| count).sum();
        assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 60_000 + count);
        ends.into_iter().map(|(_, longest)| longest).max().expect("a writer")
    });
    // Some 60 ms, or more on a busy machine; one transaction for all would take seconds.
    assert!(longest < Duration::from_secs(2), "a writer waited {longest:?}");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events_default"), 0);
    nothing_is_left(&db);
}

/// A drain in the background.
fn begin(db: &TestDatabase) -> Background {
    db.command(["partitions", "drain", "--lock-budget", "60s"]).spawn()
}

#[test]
fn a_snapshot_from_before_is_waited_for() {
    let db = store("month", &[], &["events"]);
    fill(&db, "A", &db.month(-1), 100);
    let mut reader = db.client();
    // It has not touched the table, so that no lock holds the drain.
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class")
        .expect("a snapshot");
    let mut run = begin(&db);
    eventually("all is copied", || {
        db.one::<bool>("SELECT to_regclass('events_drain') IS NOT NULL")
            && db.one::<i64>("SELECT count(*) FROM events_drain") == 100
    });
    std::thread::sleep(Duration::from_millis(500));
    assert!(run.is_running());
    assert_eq!(
        reader.query_one("SELECT count(*) FROM events", &[]).expect("a count").get::<_, i64>(0),
        100
    );
    reader.batch_execute("COMMIT").expect("the end");
    let told = run.wait().success();
    assert!(told.stderr.contains("Waiting for older readers: process"), "{told}");
    nothing_is_left(&db);
}

#[test]
fn who_reads_for_too_long_is_named_and_the_next_run_goes_on() {
    let db = store("month", &[], &["events"]);
    fill(&db, "A", &db.month(-1), 100);
    let all = rows(&db);
    let mut reader = db.client();
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class")
        .expect("a snapshot");
    let told = drain(&db, &["--lock-budget", "1s"]).failure(5);
    assert!(told.stderr.contains("others have read for longer than 1s"), "{told}");
    assert!(told.stderr.contains("idle in transaction"), "{told}");
    reader.batch_execute("COMMIT").expect("the end");
    fill(&db, "A", &db.month(-1), 0);
    drain(&db, &[]).success();
    assert_eq!(rows(&db), all);
    nothing_is_left(&db);
}

#[test]
fn two_at_once() {
    let db = store("month", &[], &["events"]);
    fill(&db, "A", &db.month(-1), 2000);
    let all = rows(&db);
    let runs: Vec<_> =
        (0..3).map(|_| db.command(["partitions", "drain", "--wait", "60s"]).spawn()).collect();
    let told: Vec<_> = runs.into_iter().map(|run| run.wait().success().stderr).collect();
    assert_eq!(told.iter().filter(|told| told.contains("Done:")).count(), 1, "{told:?}");
    assert_eq!(rows(&db), all);
    nothing_is_left(&db);
}
