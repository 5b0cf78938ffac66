//! Several processes with the same slots, some of which stand still for a while, and go on when
//! others have taken over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pupctl::projection::Processor;

use crate::journal::{self, Journal, assert_whole};
use crate::support::{TestDatabase, eventually};
use crate::worker::{Worker, sessions};
use crate::{
    Raise, Running, append, await_caught_up, catch_up, connect, fill, last, positions, store,
};

/// Adds events until something is done.
fn beside_events<T>(db: &TestDatabase, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let raise = Raise(|| done.store(true, Ordering::SeqCst));
        scope.spawn(|| {
            let (mut client, mut number) = (db.client(), 0);
            while !done.load(Ordering::SeqCst) {
                number += 1;
                append(&mut client, "Sales", &format!("o-{}", number % 40));
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = work();
        drop(raise);
        result
    })
}

/// The processes that have slots, and how many.
fn shares(db: &TestDatabase) -> Vec<(String, i64)> {
    let sql = "SELECT worker, count(*) FROM projection_checkpoints
        WHERE worker IS NOT NULL GROUP BY worker ORDER BY worker";
    let rows = db.client().query(sql, &[]).expect("the checkpoints");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn two_runners_with_the_same_slots() {
    let db = store("none");
    let worker = Worker { slots: 4, workers: 2, batch_size: 7, ..Worker::default() };
    let (other, running) = (worker.spawn(&db), Running::start(worker.runner(&db)));
    beside_events(&db, || std::thread::sleep(Duration::from_secs(4)));
    await_caught_up(&db, "all");
    other.stop();
    running.stop();
    assert_whole(&db, "all");
}

#[test]
fn a_worker_that_stands_still_in_a_batch_loses_it() {
    let db = store("none");
    fill(&db, "Sales", 40, 5);
    let pause = Duration::from_millis(300);
    let batch_timeout = Duration::from_millis(1500);
    let worker = Worker { pause, batch_timeout, ..Worker::default() };
    let zombie = worker.spawn(&db);
    eventually("it is in the middle of a batch", || {
        sessions(&db, "idle in transaction") == 1 && positions(&db, "all") == [10]
    });
    zombie.signal("STOP");
    // Nobody else gets its slot but after the time that a batch may take.
    let rival = Processor::new(connect(&db), Journal::new("all"), worker.config());
    let rival = rival.expect("a processor");
    rival.run_until_caught_up(&pupctl::db::Interrupt::default()).expect("caught up");
    assert_eq!(positions(&db, "all"), [last(&db)]);
    zombie.signal("CONT");
    for _ in 0..30 {
        append(&mut db.client(), "Sales", "later");
    }
    await_caught_up(&db, "all");
    zombie.stop();
    assert_whole(&db, "all");
}

#[test]
fn the_slots_of_a_worker_that_stands_still_between_batches_are_taken_over() {
    let db = store("none");
    // More than they can do while this test lasts, so that each always has something to do.
    fill(&db, "Sales", 10_000, 400);
    let pause = Duration::from_millis(100);
    let worker = Worker { slots: 4, pause, batch_size: 5, ..Worker::default() };
    let zombie = Worker { pause: Duration::from_millis(20), ..worker }.spawn(&db);
    let session = "SELECT max(pid) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'pupctl/projection all'";
    eventually("it works", || db.one::<Option<i32>>(session).is_some());
    let state =
        format!("SELECT state FROM pg_stat_activity WHERE pid = {}", db.one::<i32>(session));
    let running = Running::start(worker.runner(&db));
    beside_events(&db, || {
        eventually("each has its half", || shares(&db).iter().map(|share| share.1).eq([2, 2]));
        // It has two slots, a session, and nothing that is locked.
        eventually("it stands still between two batches", || {
            zombie.signal("STOP");
            std::thread::sleep(Duration::from_millis(20));
            let still = db.one::<String>(&state) == "idle";
            if !still {
                zombie.signal("CONT");
                std::thread::sleep(Duration::from_millis(20));
            }
            still
        });
        let before = positions(&db, "all");
        let all_go_on = || {
            let now = positions(&db, "all");
            now.iter().zip(&before).all(|(now, before)| now > before)
        };
        eventually("all slots go on", all_go_on);
        zombie.signal("CONT");
        eventually("each has its half", || shares(&db).iter().map(|share| share.1).eq([2, 2]));
    });
    let behind = positions(&db, "all").iter().any(|&position| position < last(&db));
    assert!(behind, "there was too little to do to tell");
    zombie.stop();
    running.stop();
    let config = worker.config().batch_size(2000);
    catch_up(&db, Journal::new("all"), config).expect("caught up");
    assert_whole(&db, "all");
}

#[test]
fn the_second_of_two_that_are_pinned_alike_takes_over() {
    let db = store("none");
    let of = |key| Worker { slots: 2, key: Some(key), ..Worker::default() };
    let (hot, other) = (of(0).spawn(&db), Running::start(of(1).runner(&db)));
    let mut client = db.client();
    for number in 0..20 {
        append(&mut client, "Sales", &format!("o-{number}"));
    }
    await_caught_up(&db, "all");
    let cold = of(0).spawn(&db);
    for number in 20..40 {
        append(&mut client, "Sales", &format!("o-{number}"));
    }
    await_caught_up(&db, "all");
    hot.kill();
    for number in 40..60 {
        append(&mut client, "Sales", &format!("o-{number}"));
    }
    await_caught_up(&db, "all");
    assert_eq!(journal::positions(&db, "all").len(), 60);
    cold.stop();
    other.stop();
    assert_whole(&db, "all");
}

#[test]
fn four_workers_have_a_quarter_of_the_slots_each_and_two_have_them_all() {
    let db = store("none");
    // So many that there is always something to do.
    fill(&db, "Sales", 40_000, 400);
    let pause = Duration::from_millis(15);
    let worker = Worker { slots: 16, workers: 2, pause, ..Worker::default() };
    let (other, running) = (worker.spawn(&db), Running::start(worker.runner(&db)));
    eventually("each has a quarter", || {
        let shares = shares(&db);
        shares.len() == 4 && shares.iter().all(|(_, slots)| *slots == 4)
    });
    other.stop();
    eventually("two have them all", || {
        let shares = shares(&db);
        shares.len() == 2 && shares.iter().all(|(_, slots)| *slots == 8)
    });
    let behind = positions(&db, "all").iter().any(|&position| position < last(&db));
    assert!(behind, "there was too little to do to tell");
    running.stop();
}
