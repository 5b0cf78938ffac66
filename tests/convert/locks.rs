//! The swap under those who hold it up: it waits, it names them, and nobody waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Output, TestDatabase, TestServer, eventually};
use crate::{
    Kind, append, assert_same, assert_sound, convert, line, phase, ready, rows, store_on, to,
};

/// Swaps with little patience, while somebody appends all the time. The longest append.
fn swap_beside_a_writer(db: &TestDatabase, verb: &str, budget: &str) -> (Output, Duration) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            let mut client = db.client();
            let created_at = format!("{}-03T00:00:00Z", db.month(0));
            while !done.load(Ordering::SeqCst) {
                let begun = Instant::now();
                let append = crate::support::Append {
                    context: "Billing",
                    id: "writer",
                    head: None,
                    events: 1,
                    created_at: &created_at,
                };
                append.run(&mut client).expect("an event");
                longest = longest.max(begun.elapsed());
                std::thread::sleep(Duration::from_millis(5));
            }
            longest
        });
        let run = db.command(line(&[verb])).args(["--lock-budget", budget]).run();
        done.store(true, Ordering::SeqCst);
        (run, writer.join().expect("a writer"))
    })
}

/// Somebody is in the way: exit 5 with their name; then they are gone.
fn held_up(db: &TestDatabase, verb: &str, words: &[&str], release: impl FnOnce()) {
    let (run, longest) = swap_beside_a_writer(db, verb, "2s");
    let run = run.failure(5);
    for words in words {
        assert!(run.stderr.contains(words), "{words}: {run}");
    }
    // A try locks for 50 ms at most; the machine may be busy.
    assert!(longest < Duration::from_secs(1), "a writer waited {longest:?}");
    let before = rows(db);
    release();
    convert(db, &[verb]).success();
    assert_same(&before, &rows(db), verb);
    assert_sound(db, verb);
}

#[test]
fn a_snapshot_that_is_older() {
    let db = ready(Kind::Pupctl, "context");
    for (verb, next) in [("swap", "swapped"), ("rollback", "rolled_back")] {
        let mut reader = db.client();
        reader
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
            .expect("a snapshot");
        append(&db, "Identity", "o-1", 3, 0);
        let count = "SELECT count(*) FROM events";
        let seen: i64 = reader.query_one(count, &[]).expect("a count").get(0);
        held_up(&db, verb, &["others have read for longer than 2s", "idle in transaction"], || {
            let again: i64 = reader.query_one(count, &[]).expect("a count").get(0);
            assert_eq!(again, seen);
            reader.batch_execute("COMMIT").expect("the end");
        });
        assert_eq!(phase(&db), next);
    }
}

/// Whether somebody has looked for older readers.
const LOOKS: &str = "SELECT count(*) > 0 FROM pg_stat_activity WHERE pid <> pg_backend_pid()
    AND datname = current_database() AND query LIKE '-- Sessions of this database that may hold%'";

#[test]
fn a_writer_that_keeps_its_snapshot_sees_what_came_before() {
    let insert = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload, created_at)
        VALUES ('Identity', 'Order', 'kept', 1, gen_random_uuid(), 'OrderPlaced', '{}', now())";
    let waits = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'events'::regclass
        AND mode = 'RowExclusiveLock' AND NOT granted";
    let db = ready(Kind::Pupctl, "context");
    let (mut reader, mut writer) = (db.client(), db.client());
    // It looks for older readers again and again, without a lock: what comes meanwhile is copied
    // in the last moment.
    let hold = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class";
    reader.batch_execute(hold).expect("a snapshot");
    append(&db, "Identity", "o-1", 3, 0);
    let words = line(&["swap", "--lock-budget", "60s"]);
    let mut run = db.command(words).hold_at("convert::tail_copied").spawn();
    eventually("it looks for older readers", || db.one(LOOKS));
    append(&db, "Identity", "o-1", 3, 0);
    writer
        .batch_execute("SET pupctl.maintenance = on; BEGIN ISOLATION LEVEL REPEATABLE READ")
        .expect("a transaction");
    let mut count = |sql: &str| -> i64 {
        writer.batch_execute(sql).expect(sql);
        writer.query_one("SELECT count(*) FROM events", &[]).expect("a count").get(0)
    };
    let seen = count("SELECT 1");
    reader.batch_execute("COMMIT").expect("the end");
    run.reached();
    std::thread::scope(|scope| {
        let inserting = scope.spawn(|| count(insert));
        eventually("the writer waits", || db.one(waits));
        run.release();
        assert_eq!(inserting.join().expect("a count"), seen + 1, "events are missing");
    });
    writer.batch_execute("COMMIT").expect("the end");
    run.wait().success();
    assert_eq!(phase(&db), "swapped");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), seen + 1);
}

#[test]
fn a_statement_that_reads_for_long() {
    let db = ready(Kind::Pupctl, "context");
    let mut reader = db.client();
    let cancel = reader.cancel_token();
    let reading = std::thread::spawn(move || {
        let sql = "SELECT pg_sleep(60) FROM (SELECT FROM events LIMIT 1) AS one";
        assert!(reader.batch_execute(sql).is_err(), "it is cancelled");
    });
    eventually("it reads", || {
        db.one("SELECT count(*) > 0 FROM pg_locks WHERE relation = 'events'::regclass AND granted")
    });
    held_up(&db, "swap", &["others have read for longer than 2s", "active"], || {
        cancel.cancel_query(postgres::NoTls).expect("cancelled");
        reading.join().expect("the reader");
    });
}

#[test]
fn a_lock_that_somebody_holds() {
    let db = ready(Kind::Pupctl, "month");
    let mut reader = db.client();
    // READ COMMITTED, so that only its lock is in the way.
    reader.batch_execute("BEGIN; SELECT count(*) FROM events").expect("a lock");
    held_up(&db, "swap", &["the locks for the swap were not free within 2s"], || {
        reader.batch_execute("COMMIT").expect("the end");
    });
}

#[test]
fn a_writer_that_does_not_commit() {
    let db = ready(Kind::Pupctl, "context,month");
    let mut writer = db.client();
    let created_at = format!("{}-03T00:00:00Z", db.month(0));
    writer
        .batch_execute(&format!(
            "BEGIN; INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
                aggregate_version, event_id, event_type, payload, created_at)
             VALUES ('Billing', 'Order', 'slow', 1, gen_random_uuid(), 'x', '', '{created_at}');
             INSERT INTO aggregate_heads VALUES ('Billing', 'Order', 'slow', 1)"
        ))
        .expect("an event");
    let (run, longest) = swap_beside_a_writer(&db, "swap", "2s");
    // Before any lock: what it may still commit is waited for.
    let run = run.failure(5);
    assert!(run.stderr.contains("may still appear"), "{run}");
    assert!(run.stderr.contains("idle in transaction"), "{run}");
    assert!(longest < Duration::from_secs(1), "a writer waited {longest:?}");
    writer.batch_execute("COMMIT").expect("the end");
    let before = rows(&db);
    convert(&db, &["swap"]).success();
    assert_same(&before, &rows(&db), "swap");
    assert_sound(&db, "swap");
}

#[test]
fn a_prepared_transaction() {
    let server = TestServer::private(&[("max_prepared_transactions", "5")]);
    let db = store_on(&server, Kind::Pupctl);
    convert(&db, &to("start", "context")).success();
    for verb in ["swap", "rollback"] {
        db.execute(&format!(
            "BEGIN; INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
                aggregate_version, event_id, event_type, payload)
             VALUES ('Billing', 'Order', '{verb}', 1, gen_random_uuid(), 'x', '');
             INSERT INTO aggregate_heads VALUES ('Billing', 'Order', '{verb}', 1);
             PREPARE TRANSACTION '{verb}'"
        ));
        let run = db.command(line(&[verb])).args(["--lock-budget", "1s"]).run().failure(5);
        let words = format!("the prepared transaction \"{verb}\"");
        assert!(run.stderr.contains(&words), "{run}");
        db.execute(&format!("COMMIT PREPARED '{verb}'"));
        let before = rows(&db);
        convert(&db, &[verb]).success();
        assert_same(&before, &rows(&db), verb);
        assert_sound(&db, verb);
    }
}

#[test]
fn a_vacuum_that_holds_the_table() {
    let db = ready(Kind::Pupctl, "context");
    let mut vacuum = db.client();
    // As VACUUM holds it, which cannot be kept running in a test.
    vacuum
        .batch_execute("BEGIN; LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE")
        .expect("the lock of VACUUM");
    held_up(&db, "swap", &["the locks for the swap were not free within 2s"], || {
        vacuum.batch_execute("COMMIT").expect("the end");
    });
}
