//! Stores whose guard moves the head, and the reads that rest on it.

use pupctl::store::{AppendError, ExpectedVersion, NewEvent, Store};

use crate::support::{TestDatabase, eventually};
use crate::{at, head, open, order, placed, several, versions};

/// A store by months with the guard, and so many months of the past.
pub(crate) fn guarded(layout: &str, past: i32) -> TestDatabase {
    let db = TestDatabase::new();
    let contexts = ["--contexts", "Sales,Billing", "--months", "1"];
    let init = ["schema", "init", "--partition-by", layout, "--hash-partitions", "2"];
    let init = if layout.contains("hash") { &init[..] } else { &init[..4] };
    db.pupctl([init, &contexts].concat()).success();
    db.pupctl(["partitions", "ensure", "--from", &db.month(-past)]).success();
    db
}

pub(crate) const NONE: [i64; 0] = [];

pub(crate) const LAYOUTS: [&str; 3] = ["month", "context,month", "hash,month"];

#[test]
fn the_guard_moves_the_head_and_tells_where_it_is() {
    for layout in LAYOUTS {
        let db = guarded(layout, 1);
        let (mut client, store) = open(&db);
        store.append(&mut client, ExpectedVersion::NoStream, &[placed("a")]).expect(layout);
        store.append(&mut client, ExpectedVersion::Exact(1), &several("a", 3)).expect(layout);
        store.append(&mut client, ExpectedVersion::Any, &several("a", 2)).expect(layout);
        assert_eq!(head(&db, "a"), Some(6), "{layout}");
        match store.append(&mut client, ExpectedVersion::Exact(5), &[placed("a")]) {
            Err(AppendError::ConcurrencyConflict { actual, .. }) => assert_eq!(actual, Some(6)),
            other => panic!("{layout}: {other:?}"),
        }
        let stored = store.read_stream(&mut client, &order("a"), ..).expect(layout);
        assert_eq!(versions(&stored), [1, 2, 3, 4, 5, 6], "{layout}");
    }
}

/// The other writer's event lies in another month, so only the guard sees it.
#[test]
fn the_loser_of_a_race_across_months_gets_the_conflict() {
    for layout in LAYOUTS {
        let db = guarded(layout, 1);
        let (mut first, store) = open(&db);
        store.append(&mut first, ExpectedVersion::NoStream, &[placed("a")]).expect(layout);
        let (mut second, others) = open(&db);
        for expected in [ExpectedVersion::Exact(1), ExpectedVersion::Any] {
            let mut transaction = first.transaction().expect("a transaction");
            store.append(&mut transaction, expected, &[placed("a")]).expect(layout);
            let past = placed("a").created_at(at(&format!("{}-15T00:00:00Z", db.month(-1))));
            // The guard does not wait forever for a writer that does not end.
            match others.append(&mut second, expected, &[past]) {
                Err(AppendError::ConcurrencyConflict { actual, .. }) => assert_eq!(actual, None),
                other => panic!("{layout}: {other:?}"),
            }
            transaction.rollback().expect("an end");
        }
        others.append(&mut second, ExpectedVersion::Exact(1), &[placed("a")]).expect(layout);
        assert_eq!(head(&db, "a"), Some(2), "{layout}");
    }
}

/// The head moves after the statement has begun, and before the guard looks at it.
#[test]
fn the_guard_tells_the_version_of_a_faster_writer() {
    let db = guarded("month", 1);
    let (mut first, store) = open(&db);
    store.append(&mut first, ExpectedVersion::NoStream, &[placed("a")]).expect("appended");
    let mut transaction = first.transaction().expect("a transaction");
    let event = placed("a").created_at(at(&format!("{}-15T00:00:00Z", db.month(0))));
    store.append(&mut transaction, ExpectedVersion::Exact(1), &[event]).expect("appended");
    let (mut second, others) = open(&db);
    let past = placed("a").created_at(at(&format!("{}-15T00:00:00Z", db.month(-1))));
    let pid: i32 = second.query_one("SELECT pg_backend_pid()", &[]).expect("a row").get(0);
    let lost = std::thread::scope(|scope| {
        let loser = scope.spawn(|| others.append(&mut second, ExpectedVersion::Exact(1), &[past]));
        let sleeps = format!(
            "SELECT coalesce(wait_event = 'PgSleep', false) FROM pg_stat_activity WHERE pid = {pid}"
        );
        eventually("the guard pauses", || loser.is_finished() || db.one(&sleeps));
        transaction.commit().expect("committed");
        loser.join().expect("no panic")
    });
    // Unless it gave up before the commit, which a busy machine may have made late.
    match lost {
        Err(AppendError::ConcurrencyConflict { actual, .. }) => {
            assert!(matches!(actual, None | Some(2)), "{actual:?}");
        }
        other => panic!("{other:?}"),
    }
}

/// Only the key table sees it: the other event lies in another month.
#[test]
fn an_id_of_another_month_is_told_with_the_key_table() {
    let db = guarded("month", 1);
    db.pupctl(["schema", "init", "--event-ids"]).success();
    let (mut client, store) = open(&db);
    let mut first = placed("a").created_at(at(&format!("{}-15T00:00:00Z", db.month(-1))));
    store.append(&mut client, ExpectedVersion::NoStream, &[first.clone()]).expect("appended");
    first.created_at = None;
    match store.append(&mut client, ExpectedVersion::Exact(1), &[placed("a"), first.clone()]) {
        Err(AppendError::DuplicateEvent { event_id }) => assert_eq!(event_id, Some(first.event_id)),
        other => panic!("{other:?}"),
    }
    assert_eq!(head(&db, "a"), Some(1));
}

/// Appends events of these times, one after the other.
fn append(client: &mut postgres::Client, store: &Store, id: &str, times: &[String]) {
    let events: Vec<NewEvent<'_>> =
        times.iter().map(|time| placed(id).created_at(at(time))).collect();
    store.append(client, ExpectedVersion::Any, &events).expect("appended");
}

/// Enough months that reads look around the head first; then events wherever their clocks put
/// them.
#[test]
fn reads_past_most_months_miss_no_event() {
    for layout in LAYOUTS {
        let db = guarded(layout, 30);
        let (mut client, store) = open(&db);
        let month = |ahead: i32| format!("{}-15T00:00:00Z", db.month(ahead));
        append(&mut client, &store, "recent", &[month(0), month(0)]);
        append(&mut client, &store, "old", &[month(-30), month(-30)]);
        append(&mut client, &store, "long", &[month(-30), month(-12), month(0)]);
        append(&mut client, &store, "backwards", &[month(0), month(-3), month(-30), month(0)]);
        append(&mut client, &store, "ahead", &[month(0), month(1), month(0)]);
        append(&mut client, &store, "hole", &[month(0), month(-9), month(0)]);
        // More often than misses are borne, so that both ways are gone.
        for _ in 0..12 {
            let mut read = |id: &str, from: i64| {
                versions(&store.read_stream(&mut client, &order(id), from..).expect(layout))
            };
            assert_eq!(read("recent", 1), [1, 2], "{layout}");
            assert_eq!(read("recent", 3), NONE, "{layout}");
            assert_eq!(read("old", 1), [1, 2], "{layout}");
            assert_eq!(read("long", 1), [1, 2, 3], "{layout}");
            assert_eq!(read("long", 3), [3], "{layout}");
            assert_eq!(read("backwards", 0), [1, 2, 3, 4], "{layout}");
            assert_eq!(read("ahead", i64::MIN), [1, 2, 3], "{layout}");
            assert_eq!(read("hole", 2), [2, 3], "{layout}");
            assert_eq!(read("nobody", 1), NONE, "{layout}");
        }
        for _ in 0..12 {
            let stored = store.read_stream(&mut client, &order("long"), ..).expect(layout);
            assert_eq!(versions(&stored), [1, 2, 3], "{layout}");
        }
    }
}

/// Somebody took the first month away: what is there is read, and nothing is believed complete.
#[test]
fn what_was_taken_away_is_not_waited_for() {
    let db = guarded("month", 30);
    let (mut client, store) = open(&db);
    let month = |ahead: i32| format!("{}-15T00:00:00Z", db.month(ahead));
    append(&mut client, &store, "a", &[month(-30), month(-12), month(0)]);
    let first = format!("events_{}", db.month(-30).replace('-', "_"));
    db.execute(&format!("ALTER TABLE events DETACH PARTITION {first}"));
    let stored = store.read_stream(&mut client, &order("a"), ..).expect("events");
    assert_eq!(versions(&stored), [2, 3]);
}

/// The head is there only with its events, so a read that asks it first never sees less.
#[test]
fn reads_beside_a_writer_have_no_holes() {
    let db = guarded("month", 30);
    let (mut writer, appends) = open(&db);
    let (mut reader, reads) = open(&db);
    let months: Vec<String> =
        (-3..=0).map(|ahead| format!("{}-15T00:00:00Z", db.month(ahead))).collect();
    std::thread::scope(|scope| {
        let done = scope.spawn(move || {
            for time in months.iter().cycle().take(200) {
                let event = placed("a").created_at(at(time));
                let appended = appends.append(&mut writer, ExpectedVersion::Any, &[event]);
                assert!(appended.is_ok(), "{appended:?}");
            }
        });
        let mut last = 0;
        while last < 200 {
            let finished = done.is_finished();
            let stored = reads.read_stream(&mut reader, &order("a"), ..).expect("events");
            let found = versions(&stored);
            let count = i64::try_from(found.len()).expect("few");
            assert!(found.into_iter().eq(1..=count));
            assert!(count >= last, "{count} after {last}");
            assert!(count == 200 || !finished, "{count} are all");
            last = count;
        }
    });
}
