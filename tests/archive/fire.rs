//! Writers and a slow reader while events leave and come back: no error but those that are
//! documented, no event lost or doubled, and whoever reads settled positions misses none.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postgres::Client;
use pupctl::db::{Interrupt, settled};
use pupctl::layout::name::QualifiedName;

use crate::support::{TestDatabase, event_id};
use crate::{archive, checkpoint, count, events, everywhere, restore, store, verified};

/// So many threads write.
const WRITERS: usize = 4;

/// Each of them one transaction of this many events, so often: 2,000 a second in all.
const BATCH: i64 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// What the writers have stored, and what they were refused.
#[derive(Debug, Default)]
struct Written {
    positions: Vec<i64>,
    errors: Vec<String>,
}

/// Stores events of the current month in the context A until it is told to stop.
fn write(db: &TestDatabase, stop: &AtomicBool) -> Written {
    let mut client = db.client();
    let mut written = Written::default();
    let insert = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
        SELECT 'A', 'Order', $1, version, gen_random_uuid(), 'Placed', '\\x00'
        FROM generate_series(1, $2::bigint) AS version RETURNING global_position";
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let id = format!("w{}", event_id());
        match client.query(insert, &[&id, &BATCH]) {
            Ok(rows) => written.positions.extend(rows.iter().map(|row| row.get::<_, i64>(0))),
            Err(error) => written.errors.push(format!("{error:?}")),
        }
        std::thread::sleep(PAUSE.saturating_sub(begun.elapsed()));
    }
    written
}

/// Holds a transaction that has read the events for two seconds, again and again.
fn read_slowly(db: &TestDatabase, stop: &AtomicBool) -> Vec<String> {
    let mut client = db.client();
    let mut errors = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let read = |client: &mut Client| -> Result<(), postgres::Error> {
            let mut transaction = client.transaction()?;
            transaction.query_one("SELECT count(*) FROM events", &[])?;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(2) && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            transaction.commit()
        };
        errors.extend(read(&mut client).err().map(|error| format!("{error:?}")));
    }
    errors
}

/// Reads all up to the settled position as a projection does, and moves its checkpoint in the same
/// transaction.
fn project(db: &TestDatabase, stop: &AtomicBool) -> BTreeSet<i64> {
    let mut client = db.client();
    let events = QualifiedName::new("public", "events");
    let (mut seen, mut at) = (BTreeSet::new(), 0);
    let mut last = false;
    loop {
        let wait = Duration::from_secs(30);
        let settled = settled::wait(&mut client, &events, wait, &Interrupt::default(), &mut |_| {})
            .expect("a settled position");
        let mut transaction = client.transaction().expect("a transaction");
        let sql = "SELECT global_position FROM events
            WHERE global_position > $1 AND global_position <= $2 ORDER BY 1";
        let rows = transaction.query(sql, &[&at, &settled]).expect("events");
        seen.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
        let sql = "UPDATE projection_checkpoints SET last_global_position = $1
            WHERE projection_name = 'all'";
        transaction.execute(sql, &[&settled]).expect("a checkpoint");
        transaction.commit().expect("a commit");
        at = settled;
        if last {
            return seen;
        }
        // Once more when the writers have stopped.
        last = stop.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `work` while others write, read and project.
fn under_fire(db: &TestDatabase, work: impl FnOnce()) {
    checkpoint(db, "all", 0);
    let before: BTreeSet<i64> = positions(db);
    let (stop, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    let (written, seen) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(|| write(db, &stop))).collect();
        let reader = scope.spawn(|| read_slowly(db, &stop));
        let projection = scope.spawn(|| project(db, &ended));
        std::thread::sleep(Duration::from_millis(300));
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let written: Vec<_> = writers.into_iter().map(|one| one.join().expect("it")).collect();
        ended.store(true, Ordering::Relaxed);
        assert_eq!(reader.join().expect("the reader"), Vec::<String>::new());
        let seen = projection.join().expect("the projection");
        if let Err(panic) = worked {
            std::panic::resume_unwind(panic);
        }
        (written, seen)
    });
    let errors: Vec<_> = written.iter().flat_map(|one| &one.errors).collect();
    assert!(errors.is_empty(), "{} errors, as {:?}", errors.len(), errors.first());
    let acknowledged: BTreeSet<i64> =
        written.iter().flat_map(|one| one.positions.clone()).collect();
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let all: BTreeSet<i64> = before.union(&acknowledged).copied().collect();
    let missed: Vec<_> = all.difference(&seen).take(5).collect();
    assert!(missed.is_empty(), "the projection missed {missed:?}");
    assert_eq!(everywhere::all(db).rows, i64::try_from(all.len()).expect("a count"));
    // What is in the store is there once, and what is not is in an archive.
    let stored = positions(db);
    assert_eq!(i64::try_from(stored.len()).expect("a count"), count(db, "events"));
    assert!(stored.is_subset(&all));
    assert_eq!(everywhere::outside(db), Vec::<String>::new());
    db.pupctl(["archive", "verify"]).success();
}

fn positions(db: &TestDatabase) -> BTreeSet<i64> {
    let rows = db.client().query("SELECT global_position FROM events", &[]).expect("positions");
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_context_is_exchanged_and_comes_back() {
    let db = store("context", &[]);
    events(&db, "A", 0, 500);
    under_fire(&db, || {
        let more = ["A", "--drop", "--patience", "30s", "--allow-split-streams"];
        archive(&db, &more).success();
        archive(&db, &more).success();
        restore(&db, &["A", "--batch", "500"]).success();
    });
    assert_eq!(everywhere::of_files(&db).rows, 0);
    crate::heads(&db);
    verified(&db);
}

#[test]
fn a_past_month_leaves_and_comes_back() {
    let db = store("month", &[]);
    events(&db, "A", -2, 500);
    let month = db.month(-2);
    under_fire(&db, || {
        archive(&db, &[&month, "--drop", "--patience", "30s"]).success();
        assert_eq!(everywhere::of_files(&db).rows, 1000);
        restore(&db, &[&month]).success();
    });
    verified(&db);
}

#[test]
fn a_month_is_detached_and_attached() {
    let db = store("month", &[]);
    events(&db, "A", -2, 500);
    let leaf = crate::leaf(&db, "events", -2);
    under_fire(&db, || {
        db.pupctl(["partitions", "detach", &leaf, "--yes", "--patience", "30s"]).success();
        db.pupctl(["partitions", "attach", &leaf, "--yes", "--behind-projections"]).success();
    });
    verified(&db);
}
