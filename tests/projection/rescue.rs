//! Processes killed, connections cut, servers restarted: the projection goes on without help, and
//! nothing is lost or doubled.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pupctl::projection::{
    Event, HandlerError, ProcessorConfig, Projection, RetryPolicy, Runner, Transaction,
};

use crate::journal::{Journal, assert_whole};
use crate::proxy::Proxy;
use crate::support::{TestDatabase, TestServer};
use crate::worker::Worker;
use crate::writers::Random;
use crate::{
    Raise, Running, append, await_caught_up, catch_up, connect, fill, positions, store, store_on,
};

#[cfg(feature = "failpoints")]
#[test]
fn a_kill_at_every_point_of_a_batch() {
    use std::os::unix::process::ExitStatusExt;
    // Where one in SQL is set up, its own tests kill.
    let is_of_batch = |name: &&&str| name.starts_with("projection::") && !name.contains("sql");
    let points: Vec<_> = pupctl::failpoint::NAMES.iter().filter(is_of_batch).collect();
    assert_eq!(points.len(), 3);
    for point in points {
        let db = store("none");
        fill(&db, "Sales", 100, 7);
        for passed in [0, 3] {
            let action = if passed == 0 { "return" } else { "3*off->return" };
            // Each batch long enough for a transaction of its own.
            let worker = Worker { pause: Duration::from_millis(25), ..Worker::default() };
            let status = worker.spawn_with(&db, &format!("{point}={action}")).wait();
            assert_eq!(status.signal(), Some(9), "{point}: {status}");
        }
        let committed = if *point == "projection::committed" { 50 } else { 30 };
        assert_eq!(positions(&db, "all"), [committed], "{point}");
        catch_up(&db, Journal::new("all"), ProcessorConfig::default()).expect("caught up");
        assert_whole(&db, "all");
    }
}

#[test]
fn twenty_kills_at_any_time() {
    let db = store("none");
    let mut random = Random::new(20);
    let worker = Worker { slots: 4, workers: 2, batch_size: 5, ..Worker::default() };
    std::thread::scope(|scope| {
        let done = std::sync::atomic::AtomicBool::new(false);
        let done = &*Box::leak(Box::new(done));
        let raise = Raise(|| done.store(true, Ordering::SeqCst));
        scope.spawn(|| {
            let (mut client, mut number) = (db.client(), 0);
            while !done.load(Ordering::SeqCst) {
                number += 1;
                append(&mut client, "Sales", &format!("o-{}", number % 9));
            }
        });
        for _ in 0..20 {
            let process = worker.spawn(&db);
            std::thread::sleep(Duration::from_millis(100 + random.below(250)));
            process.kill();
        }
        drop(raise);
    });
    let before = positions(&db, "all");
    assert!(before.iter().any(|&position| position > 0), "{before:?}");
    catch_up(&db, Journal::new("all"), worker.config()).expect("caught up");
    assert_whole(&db, "all");
}

/// Cuts its own connection in the middle of a batch, so many times.
struct Cutting {
    journal: Journal,
    left: AtomicUsize,
    /// Whether it says that all is well all the same.
    swallows: bool,
}

impl Projection for Cutting {
    fn name(&self) -> &str {
        self.journal.name()
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        self.journal.handle(tx, event)?;
        let left = |left: usize| left.checked_sub(1);
        if event.global_position % 10 == 5
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left).is_ok()
        {
            let cut = tx.execute("SELECT pg_terminate_backend(pg_backend_pid())", &[]);
            if !self.swallows {
                cut?;
            }
        }
        Ok(())
    }
}

/// Retries without long pauses.
fn config() -> ProcessorConfig {
    let retry = RetryPolicy {
        first: Duration::from_millis(10),
        longest: Duration::from_millis(200),
        ..RetryPolicy::default()
    };
    ProcessorConfig::default().batch_size(10).retry(retry)
}

#[test]
fn the_connection_is_cut_in_the_middle_of_a_batch() {
    for swallows in [false, true] {
        let db = store("none");
        fill(&db, "Sales", 60, 5);
        let cutting = Cutting { journal: Journal::new("all"), left: AtomicUsize::new(4), swallows };
        let report = catch_up(&db, cutting, config()).expect("caught up");
        assert_eq!((report.events, report.dead_letters), (60, 0));
        assert_whole(&db, "all");
    }
}

#[test]
fn a_worker_gives_up_after_as_many_retries_as_it_was_told() {
    let db = store("none");
    fill(&db, "Sales", 10, 5);
    let cutting =
        Cutting { journal: Journal::new("all"), left: AtomicUsize::new(99), swallows: false };
    let mut config = config();
    config.retry.attempts = 3;
    let error = catch_up(&db, cutting, config).expect_err("it gives up");
    assert_eq!(error.kind(), pupctl::error::Kind::Connection, "{error}");
    assert_eq!(positions(&db, "all"), [0]);
}

#[test]
fn a_commit_is_not_heard_or_not_answered() {
    for (unheard, unanswered) in [(3, 0), (0, 3), (2, 2)] {
        let db = store("none");
        let proxy = Proxy::default();
        // The rows are made first, whose commit is not meant.
        catch_up(&db, Journal::new("all"), config()).expect("caught up");
        fill(&db, "Sales", 60, 5);
        proxy.unheard.store(unheard, Ordering::SeqCst);
        proxy.unanswered.store(unanswered, Ordering::SeqCst);
        let mut runner = Runner::new(proxy.connect(db.url()));
        runner.add(Journal::new("all"), config(), 1).expect("added");
        let running = Running::start(runner);
        await_caught_up(&db, "all");
        running.stop();
        assert_eq!(proxy.unheard.load(Ordering::SeqCst), 0);
        assert_eq!(proxy.unanswered.load(Ordering::SeqCst), 0);
        assert_whole(&db, "all");
    }
}

/// Ends the sessions with this `application_name` again and again, while events come in.
fn cut_again_and_again(like: &str) {
    let db = store("none");
    let mut runner = Runner::new(connect(&db));
    runner.add(Journal::new("all"), config().slots(4), 2).expect("added");
    let running = Running::start(runner);
    let (mut client, mut writer) = (db.client(), db.client());
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE $1";
    let (begin, mut cuts) = (Instant::now(), 0);
    for number in 0.. {
        append(&mut writer, "Sales", &format!("o-{}", number % 9));
        if number % 20 == 0 {
            cuts += client.query_one(cut, &[&like]).expect("a count").get::<_, i64>(0);
        }
        if begin.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    assert!(cuts > 3, "only {cuts} cuts");
    await_caught_up(&db, "all");
    let reports = running.stop();
    assert!(reports[0].stopped.is_none(), "{reports:?}");
    assert_whole(&db, "all");
}

#[test]
fn the_connections_of_workers_are_cut_again_and_again() {
    cut_again_and_again("pupctl/projection %");
}

#[test]
fn the_connection_of_the_settled_position_is_cut_again_and_again() {
    cut_again_and_again("pupctl/settled position");
}

fn restart(kill: bool) {
    let server = TestServer::private(&[]);
    let db: TestDatabase = store_on(&server, "none");
    let mut runner = Runner::new(connect(&db));
    runner.add(Journal::new("all"), config().slots(2), 2).expect("added");
    let running = Running::start(runner);
    for round in 0..2 {
        let mut client = db.client();
        for number in 0..100 {
            append(&mut client, "Sales", &format!("{round}-{}", number % 9));
        }
        if kill {
            let pid = server.embedded().start().expect("it runs").server.pid;
            crate::signal("KILL", i64::from(pid));
            // Its processes notice that it is gone, and leave what they share.
            crate::support::eventually("the server is gone", || client.batch_execute("").is_err());
        } else {
            assert!(server.embedded().stop().expect("it stops"));
        }
        std::thread::sleep(Duration::from_millis(700));
        server.embedded().start().expect("it starts again");
        assert!(!running.is_over());
        await_caught_up(&db, "all");
    }
    let reports = running.stop();
    assert!(reports[0].stopped.is_none(), "{reports:?}");
    assert_whole(&db, "all");
}

#[test]
fn the_server_is_restarted() {
    restart(false);
}

#[test]
fn the_server_is_killed_and_started_again() {
    restart(true);
}
