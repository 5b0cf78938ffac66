//! Two writers of one aggregate: one of them is told that it lost, and how.

use std::thread;

use postgres::Client;
use pupctl::store::{AppendError, Appended, ExpectedVersion, Store};
use uuid::Uuid;

use crate::support::{Append, TestDatabase, eventually};
use crate::{LAYOUTS, at, head, open, order, placed, several, store, versions};

/// The version that a conflict tells.
#[track_caller]
fn conflict(result: Result<Appended, AppendError>) -> Option<i64> {
    match result {
        Err(AppendError::ConcurrencyConflict { actual, .. }) => actual,
        other => panic!("expected a conflict, found {other:?}"),
    }
}

#[test]
fn an_old_version_is_refused_and_the_transaction_goes_on() {
    for layout in LAYOUTS {
        let db = store(layout);
        let (mut client, store) = open(&db);
        let mut transaction = client.transaction().expect("a transaction");
        let mut append = |expected, events: usize| {
            store.append(&mut transaction, expected, &several("a", events))
        };
        assert_eq!(conflict(append(ExpectedVersion::Exact(1), 1)), Some(0), "{layout}");
        append(ExpectedVersion::Exact(0), 2).expect(layout);
        for events in [1, 3] {
            assert_eq!(conflict(append(ExpectedVersion::NoStream, events)), Some(2), "{layout}");
            assert_eq!(conflict(append(ExpectedVersion::Exact(1), events)), Some(2), "{layout}");
            assert_eq!(conflict(append(ExpectedVersion::Exact(3), events)), Some(2), "{layout}");
        }
        append(ExpectedVersion::Exact(2), 1).expect(layout);
        transaction.commit().expect(layout);
        assert_eq!(head(&db, "a"), Some(3), "{layout}");
        assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 3, "{layout}");
    }
}

/// The second writer waits for the first one, which then commits or not.
fn race(
    db: &TestDatabase,
    expected: [ExpectedVersion; 2],
    months: [&str; 2],
    commit: bool,
) -> Result<Appended, AppendError> {
    let (mut first, store) = open(db);
    let mut transaction = first.transaction().expect("a transaction");
    let event = placed("a").created_at(at(&format!("{}-15T00:00:00Z", months[0])));
    store.append(&mut transaction, expected[0], &[event]).expect("the first");

    let (mut second, others) = open(db);
    let pid: i32 = second.query_one("SELECT pg_backend_pid()", &[]).expect("a row").get(0);
    thread::scope(|scope| {
        let loser = scope.spawn(|| {
            let event = placed("a").created_at(at(&format!("{}-15T00:00:00Z", months[1])));
            others.append(&mut second, expected[1], &[event])
        });
        eventually("the second writer waits", || waits(db, pid));
        if commit { transaction.commit() } else { transaction.rollback() }.expect("an end");
        loser.join().expect("no panic")
    })
}

fn waits(db: &TestDatabase, pid: i32) -> bool {
    db.one(&format!("SELECT EXISTS (SELECT FROM pg_locks WHERE pid = {pid} AND NOT granted)"))
}

#[test]
fn the_loser_of_a_race_gets_the_conflict() {
    use ExpectedVersion::{Any, Exact, NoStream};
    for layout in LAYOUTS {
        let db = store(layout);
        let month = db.month(0);
        let months = [month.as_str(), &month];
        let lost = race(&db, [NoStream, NoStream], months, true);
        assert_eq!(conflict(lost), None, "{layout}");
        assert_eq!(conflict(race(&db, [Exact(1), Exact(1)], months, true)), None, "{layout}");
        assert_eq!(conflict(race(&db, [Any, Any], months, true)), None, "{layout}");
        assert_eq!(conflict(race(&db, [Exact(3), Any], months, true)), None, "{layout}");
        // Whoever gives up leaves the version to the other.
        let won = race(&db, [Exact(4), Exact(4)], months, false).expect(layout);
        assert_eq!(won.last_version, 5, "{layout}");
        assert_eq!(head(&db, "a"), Some(5), "{layout}");
        let (mut client, store) = open(&db);
        let stored = store.read_stream(&mut client, &order("a"), ..).expect(layout);
        assert_eq!(versions(&stored), [1, 2, 3, 4, 5], "{layout}");
    }
}

/// No key sees it: the head does, and takes the event back in autocommit too.
#[test]
fn the_same_version_in_two_months_is_refused_without_a_guard() {
    use ExpectedVersion::{Any, Exact, NoStream};
    for layout in ["month", "context,month", "hash,month"] {
        let db = store(layout);
        let (this, next) = (db.month(0), db.month(1));
        let months = [this.as_str(), &next];
        assert_eq!(conflict(race(&db, [NoStream, NoStream], months, true)), None, "{layout}");
        assert_eq!(conflict(race(&db, [Exact(1), Exact(1)], months, true)), None, "{layout}");
        assert_eq!(conflict(race(&db, [Any, Any], months, true)), None, "{layout}");
        let won = race(&db, [Exact(3), Exact(3)], months, false).expect(layout);
        assert_eq!(won.last_version, 4, "{layout}");
        let (mut client, store) = open(&db);
        let stored = store.read_stream(&mut client, &order("a"), ..).expect(layout);
        assert_eq!(versions(&stored), [1, 2, 3, 4], "{layout}");
    }
}

/// Both lock the event before the head, so neither waits for the other in a circle.
#[test]
fn writers_of_the_go_library_race_without_deadlocks() {
    for layout in LAYOUTS {
        let db = store(layout);
        let at = format!("{}-15T12:00:00Z", db.month(0));
        let theirs = Append { context: "Sales", id: "a", head: None, events: 1, created_at: &at };
        theirs.run(&mut db.client()).expect(layout);
        let (mut client, store) = open(&db);
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).expect("a row").get(0);

        // Theirs has the event, ours waits for it; then theirs takes the head.
        let mut other = db.client();
        let mut transaction = other.transaction().expect("a transaction");
        transaction
            .batch_execute(&format!(
                "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
                     aggregate_version, event_id, event_type, payload, created_at)
                 VALUES ('Sales', 'Order', 'a', 2, gen_random_uuid(), 'x', '', '{at}')"
            ))
            .expect(layout);
        let lost = thread::scope(|scope| {
            let event = placed("a").created_at(crate::at(&at));
            let ours =
                scope.spawn(|| store.append(&mut client, ExpectedVersion::Exact(1), &[event]));
            eventually("the second writer waits", || waits(&db, pid));
            transaction
                .batch_execute(
                    "INSERT INTO aggregate_heads (bounded_context, aggregate_type, aggregate_id,
                         aggregate_version) VALUES ('Sales', 'Order', 'a', 2)
                     ON CONFLICT (bounded_context, aggregate_type, aggregate_id)
                     DO UPDATE SET aggregate_version = 2, updated_at = now()",
                )
                .expect(layout);
            transaction.commit().expect(layout);
            ours.join().expect("no panic")
        });
        assert_eq!(conflict(lost), None, "{layout}");
        assert_eq!(head(&db, "a"), Some(2), "{layout}");
    }
}

/// Retries until its events are in.
fn insist(client: &mut Client, store: &Store, count: usize) {
    for _ in 0..count {
        while let Err(error) = store.append(client, ExpectedVersion::Any, &[placed("a")]) {
            assert!(error.is_conflict(), "{error:?}");
        }
    }
}

#[test]
fn many_writers_leave_no_hole_and_no_version_twice() {
    const WRITERS: usize = 4;
    const EACH: usize = 25;
    for layout in LAYOUTS {
        let db = store(layout);
        thread::scope(|scope| {
            for _ in 0..WRITERS {
                let (mut client, store) = open(&db);
                scope.spawn(move || insist(&mut client, &store, EACH));
            }
        });
        let (mut client, store) = open(&db);
        let stored = store.read_stream(&mut client, &order("a"), ..).expect(layout);
        assert!(versions(&stored).into_iter().eq(1..=100), "{layout}");
        assert_eq!(head(&db, "a"), Some(100), "{layout}");
    }
}

#[test]
fn an_id_that_is_there_already_is_no_conflict_of_versions() {
    let db = store("hash");
    let (mut client, store) = open(&db);
    let id = Uuid::from_u128(42);
    let event = || placed("a").created_at(at("2026-11-01T00:00:00Z"));
    let mut first = event();
    first.event_id = id;
    store.append(&mut client, ExpectedVersion::NoStream, &[first.clone()]).expect("appended");
    let again = [event(), first];
    for events in [&again[1..], &again] {
        match store.append(&mut client, ExpectedVersion::Exact(1), events) {
            Err(AppendError::DuplicateEvent { event_id }) => assert_eq!(event_id, Some(id)),
            other => panic!("expected a duplicate, found {other:?}"),
        }
    }
    assert_eq!(head(&db, "a"), Some(1));
}
