//! Whatever writers, commands and crashes do: every committed event is handled once, those of an
//! aggregate in their order. A reader without a settled position loses some, or nothing of this
//! would be proven.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pupctl::db::Interrupt;
use pupctl::projection::{Processor, ProcessorConfig, Runner};

use crate::journal::{self, Journal, assert_whole, assert_whole_of};
use crate::support::{Append, TestDatabase, TestServer, eventually};
use crate::writers::{beside_writers, duration, read_naively};
use crate::{Raise, Running, append, await_caught_up, connect, last, signal, store, store_on};

fn server() -> TestServer {
    TestServer::private(&[("max_prepared_transactions", "50")])
}

/// A runner with a divided projection, one with a scope, and small batches.
fn runner(db: &TestDatabase) -> Runner {
    let mut runner = Runner::new(connect(db));
    let config = ProcessorConfig::default().batch_size(20);
    runner.add(Journal::new("all"), config.clone().slots(4), 3).expect("added");
    runner.add(Journal::of("sales", &["Sales"]), config, 1).expect("added");
    runner
}

/// What they were given is what is in the store, says the audit.
#[track_caller]
fn assert_audited(db: &TestDatabase) {
    db.pupctl(["projections", "verify", "--all"]).success();
}

/// Both have handled everything, once and in order.
fn assert_both_whole(db: &TestDatabase) {
    for (projection, context) in [("all", "%"), ("sales", "Sales")] {
        await_caught_up(db, projection);
        assert_whole_of(db, projection, context);
    }
}

#[test]
fn nothing_is_lost_where_a_naive_reader_loses() {
    let server = server();
    let db = store_on(&server, "none");
    let running = Running::start(runner(&db));
    // Another follows the settled position itself.
    let own = Processor::new(connect(&db), Journal::new("own"), ProcessorConfig::default());
    let own = own.expect("a processor");
    let (stop, done) = (Interrupt::default(), AtomicBool::new(false));
    let naive = std::thread::scope(|scope| {
        let raise = Raise(|| {
            stop.raise();
            done.store(true, Ordering::SeqCst);
        });
        let own = scope.spawn(|| own.run(&stop));
        let naive = scope.spawn(|| read_naively(&db, &done));
        let commits = beside_writers(&db, || {
            std::thread::sleep(duration() / 2);
            import(&db, "Sales");
            std::thread::sleep(duration() / 2);
        });
        assert!(commits > 200, "only {commits} commits");
        assert_both_whole(&db);
        await_caught_up(&db, "own");
        drop(raise);
        own.join().expect("no panic").expect("stopped");
        naive.join().expect("the naive reader")
    });
    assert_whole(&db, "own");
    let reports = running.stop();
    assert_audited(&db);
    let events: i64 = db.one("SELECT count(*) FROM events");
    assert_eq!(reports[0].events, events.unsigned_abs());
    let lost = events - i64::try_from(naive.len()).expect("a number");
    assert!(lost > 0, "the naive reader lost nothing of {events}");
}

/// Draws positions while the processor runs.
fn import(db: &TestDatabase, context: &str) {
    let line = |number: u32| {
        format!(
            "{{\"bounded_context\":\"{context}\",\"aggregate_type\":\"Order\",\
             \"aggregate_id\":\"i-{}\",\"aggregate_version\":{},\"event_type\":\"OrderPlaced\",\
             \"payload\":{number},\"event_id\":\"00000000-0000-4000-8000-{number:012}\",\
             \"created_at\":\"{}-03T00:00:00Z\"}}\n",
            number % 7,
            number / 7 + 1,
            db.month(0)
        )
    };
    std::fs::write(db.folder().join("import.ndjson"), (0..500).map(line).collect::<String>())
        .expect("a file");
    db.pupctl(["events", "import", "import.ndjson", "--wait", "60s"]).success();
}

#[test]
fn nothing_is_lost_while_partitions_come_and_go() {
    let server = server();
    let db = store_on(&server, "context,month");
    let past = db.month(-2);
    db.pupctl(["partitions", "ensure", "--from", &past]).success();
    let created_at = format!("{past}-03T00:00:00Z");
    let old =
        Append { context: "Sales", id: "old", head: None, events: 30, created_at: &created_at };
    old.run(&mut db.client()).expect("old events");
    let running = Running::start(runner(&db));
    let commits = beside_writers(&db, || {
        let begin = Instant::now();
        let mut months = 2;
        let leaf = format!("events_sales_{}", past.replace('-', "_"));
        while months == 2 || begin.elapsed() < duration() {
            db.pupctl(["partitions", "ensure", "--months", &months.to_string()]).success();
            months += 1;
            if months == 4 {
                import(&db, "Billing");
            }
            db.pupctl(["partitions", "detach", &leaf, "--yes", "--wait", "60s"]).success();
            db.pupctl(["partitions", "attach", &leaf, "--behind-projections"]).success();
        }
    });
    assert!(commits > 100, "only {commits} commits");
    assert_both_whole(&db);
    running.stop();
    assert_audited(&db);
}

/// Kills a session of the server, which takes all of it down, and up again.
fn crash(db: &TestDatabase) {
    let (mut client, mut other) = (db.client(), db.client());
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).expect("a number").get(0);
    signal("KILL", i64::from(pid));
    // Until it has noticed it takes further sessions.
    eventually("the server is down", || other.batch_execute("SELECT 1").is_err());
    eventually("the server is up again", || {
        postgres::Client::connect(db.url(), postgres::NoTls).is_ok()
    });
}

#[test]
fn a_crash_that_burns_positions_loses_nothing() {
    let server = server();
    let db = store_on(&server, "none");
    let running = Running::start(runner(&db));
    beside_writers(&db, || {
        for _ in 0..2 {
            std::thread::sleep(duration() / 3);
            crash(&db);
        }
        std::thread::sleep(duration() / 3);
    });
    assert!(!running.is_over(), "the runner goes on by itself");
    assert_both_whole(&db);
    running.stop();
    assert_audited(&db);
}

#[test]
fn a_crash_that_takes_positions_back_loses_nothing() {
    // Nothing is written to disk but by those who wait for it.
    let server = TestServer::private(&[
        ("wal_writer_delay", "10s"),
        ("autovacuum", "off"),
        ("bgwriter_lru_maxpages", "0"),
        ("full_page_writes", "off"),
    ]);
    let db = store_on(&server, "none");
    let running = Running::start(runner(&db));
    let pause = |paused: &str| {
        db.execute(&format!("UPDATE projection_checkpoints SET paused_at = {paused}"));
    };
    let sequence = "SELECT last_value FROM events_global_position_seq";
    let mut went_back = 0;
    for round in 0..4 {
        append(&mut db.client(), "Sales", "durable");
        assert_both_whole(&db);
        // From here on only the settled position follows, whose commits write nothing.
        pause("now()");
        let mut client = db.client();
        // The log has the sequence 32 positions ahead: the next one is to be logged anew.
        while db.one::<i64>("SELECT log_cnt FROM events_global_position_seq") > 0 {
            client.batch_execute("SELECT nextval('events_global_position_seq')").expect("drawn");
        }
        client.batch_execute("SET synchronous_commit = off").expect("a setting");
        for _ in 0..3 {
            append(&mut client, "Sales", "lost");
        }
        let drawn: i64 = db.one(sequence);
        // It has seen them by then; where not, the round proves less.
        std::thread::sleep(Duration::from_millis(400));
        crash(&db);
        let now: i64 = db.one(sequence);
        went_back += i64::from(now < drawn);
        // The same positions again, by writers that commit in any order.
        std::thread::scope(|scope| {
            for writer in 0..6_u64 {
                let db = &db;
                scope.spawn(move || {
                    let mut client = db.client();
                    for number in 0..10 {
                        std::thread::sleep(Duration::from_millis(1 + writer * 3));
                        append(&mut client, "Sales", &format!("{round}-{writer}-{}", number % 2));
                    }
                });
            }
            pause("NULL");
        });
        assert_both_whole(&db);
    }
    assert!(went_back > 0, "the sequence never went back");
    running.stop();
    assert_audited(&db);
}

#[test]
fn a_position_that_is_taken_is_refused() {
    let db = store("none");
    let mut client = db.client();
    append(&mut client, "Sales", "o-1");
    let insert = "INSERT INTO events (global_position, bounded_context, aggregate_type,
            aggregate_id, aggregate_version, event_id, event_type, payload)
        VALUES (1, 'Billing', 'Order', 'o-2', 1, gen_random_uuid(), 'OrderPlaced', '')";
    let refused = client.batch_execute(insert).expect_err("it is taken");
    assert_eq!(refused.code().map(postgres::error::SqlState::code), Some("23505"));
    let report = crate::catch_up(&db, Journal::new("all"), ProcessorConfig::default());
    assert_eq!(report.expect("caught up").events, 1);
}

/// Leaves have keys of their own, so a position that is written by hand may be in two of them.
#[test]
fn a_position_that_two_partitions_have_is_handled_for_both() {
    let db = store("context");
    let mut client = db.client();
    for number in 0..6 {
        append(&mut client, "Sales", &format!("o-{number}"));
    }
    db.execute(
        "INSERT INTO events (global_position, bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
         SELECT number, 'Billing', 'Order', 'twice-' || number, 1, gen_random_uuid(), 'Placed', ''
         FROM generate_series(1, 6) AS number;
         ALTER TABLE journal DROP CONSTRAINT journal_pkey",
    );
    for (projection, batch_size) in [("one", 1), ("three", 3), ("hundred", 100)] {
        let config = ProcessorConfig::default().batch_size(batch_size);
        let report = crate::catch_up(&db, Journal::new(projection), config).expect("caught up");
        assert_eq!(report.events, 12, "{batch_size}");
        assert_eq!(journal::positions(&db, projection).len(), 12);
        assert_whole(&db, projection);
    }
    assert_audited(&db);
}

#[test]
fn an_unrelated_transaction_holds_nothing_up() {
    let db = store("none");
    let mut unrelated = db.client();
    unrelated
        .batch_execute("CREATE TABLE other (number int); BEGIN; INSERT INTO other VALUES (1)")
        .expect("a transaction");
    let mut client = db.client();
    for number in 0..30 {
        append(&mut client, "Sales", "o-1");
        if number % 3 == 0 {
            db.execute("SELECT nextval('events_global_position_seq')");
        }
    }
    let report = crate::catch_up(&db, Journal::new("all"), ProcessorConfig::default());
    assert_eq!(report.expect("caught up").position, last(&db));
    assert_whole(&db, "all");
    unrelated.batch_execute("COMMIT").expect("its end");
}

/// The statements that workers of two projections run while nothing happens.
#[test]
fn an_idle_store_costs_next_to_nothing() {
    let server = TestServer::private(&[("log_statement", "all")]);
    let db = store_on(&server, "none");
    append(&mut db.client(), "Sales", "o-1");
    let mut runner = Runner::new(connect(&db));
    for projection in ["one", "two"] {
        let projection = Arc::new(Journal::new(projection));
        runner.add_shared(projection, ProcessorConfig::default(), 1).expect("added");
    }
    let running = Running::start(runner);
    await_caught_up(&db, "one");
    await_caught_up(&db, "two");
    let log = server.embedded().start().expect("it runs").server.folder.join("server.log");
    let statements = || {
        let text = std::fs::read_to_string(&log).expect("the log");
        text.lines()
            .filter(|line| line.contains("LOG:  statement:") || line.contains("LOG:  execute"))
            .count()
    };
    std::thread::sleep(Duration::from_secs(1));
    let (before, begin) = (statements(), Instant::now());
    std::thread::sleep(Duration::from_secs(4));
    #[allow(clippy::cast_precision_loss)]
    let a_second = (statements() - before) as f64 / begin.elapsed().as_secs_f64();
    running.stop();
    assert!(a_second > 1.0, "{a_second}: nothing was logged");
    assert!(a_second < 25.0, "{a_second} statements a second");
}
