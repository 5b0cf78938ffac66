//! Writers and readers go on while partitions leave and come back.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::TestDatabase;
use crate::{attach, detach, events, leaf, rows, store, verified};

/// How many events a second are written.
const RATE: u32 = 2000;

const WRITERS: u32 = 4;

/// Inserts into the current month until it is told to stop, each insert a transaction of a few
/// events; any error ends the test.
fn write(db: &TestDatabase, writer: u32, stop: &AtomicBool, written: &AtomicI64) {
    const BATCH: u32 = 5;
    let mut client = db.client();
    let insert = client
        .prepare(
            "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, payload)
             SELECT 'A', 'Order', $1 || number, 1, gen_random_uuid(), 'Placed', '\\x00'
             FROM generate_series(1, 5) AS number",
        )
        .expect("a statement");
    let pause = Duration::from_secs(1) * WRITERS * BATCH / RATE;
    let begin = Instant::now();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let id = format!("w{writer}-{turn}-");
        client.execute(&insert, &[&id]).expect("an insert into the current month");
        written.fetch_add(i64::from(BATCH), Ordering::Relaxed);
        thread::sleep((begin + pause * turn).saturating_duration_since(Instant::now()));
    }
}

/// Reads all months in transactions of two seconds.
fn read(db: &TestDatabase, stop: &AtomicBool) {
    let mut client = db.client();
    while !stop.load(Ordering::Relaxed) {
        let read = "BEGIN; SELECT count(*) FROM events; SELECT pg_sleep(2); COMMIT";
        client.batch_execute(read).expect("a read");
    }
}

/// Does the work beside writers and a reader, and gives back how many events were written.
fn beside_traffic(db: &TestDatabase, work: impl FnOnce()) -> i64 {
    let (stop, written) = (AtomicBool::new(false), AtomicI64::new(0));
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (stop, written) = (&stop, &written);
            scope.spawn(move || write(db, writer, stop, written));
        }
        scope.spawn(|| read(db, &stop));
        thread::sleep(Duration::from_millis(500));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        if let Err(reason) = done {
            std::panic::resume_unwind(reason);
        }
    });
    written.into_inner()
}

#[test]
fn no_event_is_refused_or_lost() {
    let db = store("context,month");
    events(&db, "A", -3, 200);
    let before = rows(&db, "events");
    let name = leaf(&db, "events_a", -3);
    let written = beside_traffic(&db, || {
        for how in [&[][..], &["--at-once"]] {
            detach(&db, &[&[name.as_str()], how].concat()).success();
            attach(&db, &[&name, "--no-analyze"]).success();
        }
    });
    assert!(written > 1000, "{written}");
    let past = format!(
        "SELECT row::text FROM public.events AS row
        WHERE created_at < '{}-01 00:00:00+00' ORDER BY global_position",
        db.month(0)
    );
    assert_eq!(db.texts(&past), before);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events WHERE aggregate_id LIKE 'w%'"), written);
    assert_eq!(
        db.one::<i64>("SELECT count(*) FROM aggregate_heads WHERE aggregate_id LIKE 'w%'"),
        written
    );
    verified(&db);
}
