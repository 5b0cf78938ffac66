//! Many workers in one process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pupctl::projection::{ProcessorConfig, Runner};

use crate::journal::{Journal, assert_whole};
use crate::support::eventually;
use crate::{append, connect, positions, store};

#[test]
fn workers_share_the_slots_and_stop_cleanly() {
    let db = store("context");
    let mut runner = Runner::new(connect(&db));
    runner.add(Journal::new("all"), ProcessorConfig::default().slots(4), 3).expect("added");
    runner.add(Journal::of("sales", &["Sales"]), ProcessorConfig::default(), 1).expect("added");
    let stop = runner.stopper();
    let running = std::thread::spawn(move || runner.run());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (db, done) = (&db, &done);
            scope.spawn(move || {
                let mut client = db.client();
                let mut number = 0;
                while !done.load(Ordering::Relaxed) {
                    number += 1;
                    let context = if number % 2 == 0 { "Sales" } else { "Billing" };
                    append(&mut client, context, &format!("{writer}-{}", number % 5));
                }
            });
        }
        std::thread::sleep(Duration::from_secs(3));
        done.store(true, Ordering::Relaxed);
    });
    let last: i64 = db.one("SELECT max(global_position) FROM events");
    eventually("all caught up", || {
        positions(&db, "all").iter().all(|&position| position >= last)
            && positions(&db, "sales").iter().all(|&position| position >= last)
    });
    let raised = Instant::now();
    stop.raise();
    let reports = running.join().expect("no panic").expect("stopped");
    assert!(raised.elapsed() < Duration::from_secs(2), "{:?}", raised.elapsed());
    assert_whole(&db, "all");
    let events: i64 = db.one("SELECT count(*) FROM events");
    assert_eq!(reports[0].events, events.unsigned_abs());
    assert!(reports.iter().all(|report| report.stopped.is_none()), "{reports:?}");
}
