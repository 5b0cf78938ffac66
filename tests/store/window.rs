//! Reads of stores with many months, which look into few of them first.

use std::thread;

use chrono::{DateTime, Utc};
use postgres::{Client, IsolationLevel};
use pupctl::store::{ExpectedVersion, NewEvent, Store, StoredEvent, StreamId};

use crate::guard::{LAYOUTS, NONE, guarded};
use crate::support::TestDatabase;
use crate::{at, open, order, placed, several, store, versions};

/// The middle of a month.
fn middle(db: &TestDatabase, ahead: i32) -> DateTime<Utc> {
    at(&format!("{}-15T00:00:00Z", db.month(ahead)))
}

/// Appends events of these months, with the head updated in the month of the last one, as if it
/// had been so then.
fn live(db: &TestDatabase, client: &mut Client, store: &Store, id: &str, months: &[i32]) {
    let event = |ahead: &i32| placed(id).created_at(middle(db, *ahead));
    let events: Vec<NewEvent<'_>> = months.iter().map(event).collect();
    store.append(client, ExpectedVersion::Any, &events).expect("appended");
    updated(db, id, middle(db, *months.last().expect("a month")));
}

/// Says when the head was updated.
fn updated(db: &TestDatabase, id: &str, at: DateTime<Utc>) {
    let sql = "UPDATE aggregate_heads SET updated_at = $2 WHERE aggregate_id = $1";
    assert_eq!(db.client().execute(sql, &[&id, &at]).expect("updated"), 1);
}

fn read(client: &mut Client, store: &Store, id: &str) -> Vec<i64> {
    versions(&store.read_stream(client, &order(id), ..).expect("events"))
}

/// How often the statements with this text were planned for their values, and how often not.
fn plans(client: &mut Client, text: &str) -> Vec<(i64, i64)> {
    let sql = "SELECT custom_plans, generic_plans FROM pg_prepared_statements
        WHERE position($1 IN statement) > 0 AND statement NOT LIKE '%pg_prepared_statements%'
        ORDER BY prepare_time";
    let rows = client.query(sql, &[&text]).expect("plans");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// How often each kind of statement ran: those for windows, that for the head, that for all.
fn runs(client: &mut Client) -> [i64; 3] {
    let mut sum = |text: &str| -> i64 {
        plans(client, text).into_iter().map(|(custom, generic)| custom + generic).sum()
    };
    let windows = sum("UNION ALL");
    // Only the look at the head begins with these two.
    let heads = sum("SELECT aggregate_version, updated_at FROM");
    let all = sum("aggregate_version BETWEEN") - windows;
    [windows, heads, all]
}

#[test]
fn versions_of_the_present_and_of_the_past_come_whole() {
    for layout in LAYOUTS {
        let db = guarded(layout, 30);
        let (mut client, store) = open(&db);
        live(&db, &mut client, &store, "now", &[-1, -1, 0, 0, 0, 0]);
        live(&db, &mut client, &store, "past", &[-21, -21, -20, -20, -20, -20]);
        live(&db, &mut client, &store, "long", &[-28, -15, -14, -3, -1, 0]);
        live(&db, &mut client, &store, "old", &[-28, -25, -18, -17, -15, -14]);
        live(&db, &mut client, &store, "ahead", &[0, 0, 1, 0, 1, 0]);
        live(&db, &mut client, &store, "late", &[0, -9, 0, -30, 1, -20]);
        // In this order and in the other one, so that every guess is right and wrong in turn.
        for turn in 0..12 {
            let mut ids = ["now", "past", "long", "old", "ahead", "late"];
            if turn % 2 == 1 {
                ids.reverse();
            }
            for id in ids {
                let read = |found: pupctl::Result<Vec<StoredEvent>>| {
                    versions(&found.unwrap_or_else(|error| panic!("{layout} {id}: {error}")))
                };
                let (client, stream) = (&mut client, order(id));
                let all = read(store.read_stream(client, &stream, ..));
                assert_eq!(all, [1, 2, 3, 4, 5, 6], "{layout} {id} {turn}");
                let rest = read(store.read_stream(client, &stream, 6..));
                assert_eq!(rest, [6], "{layout} {id} {turn}");
                let middle = read(store.read_stream(client, &stream, 2..=4));
                assert_eq!(middle, [2, 3, 4], "{layout} {id} {turn}");
                for none in [7..=9, -5..=0] {
                    assert_eq!(read(store.read_stream(client, &stream, none)), NONE, "{layout}");
                }
            }
        }
    }
}

/// Heads that say another time than their events: only versions are believed.
#[test]
fn a_head_of_another_time_hides_no_event() {
    let db = guarded("month", 30);
    let (mut client, store) = open(&db);
    live(&db, &mut client, &store, "now", &[-1, 0]);
    live(&db, &mut client, &store, "past", &[-21, -20]);
    let times = [middle(&db, 0), middle(&db, -20), middle(&db, -5), middle(&db, 40)];
    let far = ["1066-10-14T09:00:00Z", "2999-12-31T23:00:00Z", "1900-01-01T00:00:00Z"];
    for time in times.into_iter().chain(far.map(at)) {
        for id in ["now", "past"] {
            updated(&db, id, time);
            for _ in 0..3 {
                assert_eq!(read(&mut client, &store, id), [1, 2], "{id} {time}");
            }
        }
    }
}

/// A head without events in the months around it, and events without a head.
#[test]
fn heads_and_events_need_not_be_together() {
    for layout in LAYOUTS {
        let db = guarded(layout, 30);
        let (mut client, store) = open(&db);
        live(&db, &mut client, &store, "headless", &[-20, 0]);
        live(&db, &mut client, &store, "other", &[0]);
        db.execute("DELETE FROM aggregate_heads WHERE aggregate_id = 'headless'");
        live(&db, &mut client, &store, "far", &[-30, -29]);
        updated(&db, "far", middle(&db, -9));
        for _ in 0..12 {
            assert_eq!(read(&mut client, &store, "other"), [1], "{layout}");
            assert_eq!(read(&mut client, &store, "headless"), [1, 2], "{layout}");
            assert_eq!(read(&mut client, &store, "far"), [1, 2], "{layout}");
            assert_eq!(read(&mut client, &store, "nobody"), NONE, "{layout}");
        }
    }
}

/// The plan for a window has its leaves only, and is made five times.
#[test]
fn a_window_is_planned_once_with_few_leaves() {
    for layout in LAYOUTS {
        let db = guarded(layout, 30);
        let (mut client, store) = open(&db);
        let ids: Vec<String> = (0..20).map(|number| format!("order-{number}")).collect();
        for id in &ids {
            store.append(&mut client, ExpectedVersion::NoStream, &several(id, 10)).expect(layout);
        }
        db.execute("ANALYZE");
        for id in &ids {
            assert_eq!(read(&mut client, &store, id).len(), 10, "{layout}");
        }
        assert_eq!(plans(&mut client, "UNION ALL"), [(5, 15)], "{layout}");
        assert_eq!(runs(&mut client), [20, 1, 0], "{layout}");
        let mut transaction = client.transaction().expect("a transaction");
        store.read_stream(&mut transaction, &order("order-7"), ..).expect(layout);
        let locked = "SELECT count(DISTINCT relation),
                count(*) FILTER (WHERE relname LIKE '%billing%')
            FROM pg_locks JOIN pg_class ON pg_class.oid = relation
            WHERE pid = pg_backend_pid() AND relkind = 'r' AND relname LIKE 'events%'";
        let row = transaction.query_one(locked, &[]).expect("a row");
        let (locked, elsewhere): (i64, i64) = (row.get(0), row.get(1));
        let hashes = if layout.contains("hash") { 2 } else { 1 };
        assert!(locked <= 4 * hashes, "{layout}: {locked} leaves");
        assert_eq!(elsewhere, 0, "{layout}");
    }
}

/// Streams of the present in one round trip; streams of one month of the past in two, and the
/// first of them is soon a look at the head.
#[test]
fn what_served_before_is_tried_first() {
    let db = guarded("month", 30);
    let (mut client, store) = open(&db);
    live(&db, &mut client, &store, "now", &[0, 0]);
    live(&db, &mut client, &store, "past", &[-20, -20]);
    let mut read = |id: &str, times: usize| {
        let before = runs(&mut client);
        for _ in 0..times {
            assert_eq!(self::read(&mut client, &store, id), [1, 2]);
        }
        let after = runs(&mut client);
        [0, 1, 2].map(|kind| after[kind] - before[kind])
    };
    assert_eq!(read("now", 1), [1, 1, 0]);
    assert_eq!(read("now", 10), [10, 0, 0]);
    assert_eq!(read("past", 4), [8, 0, 0]);
    assert_eq!(read("past", 10), [10, 10, 0]);
    assert_eq!(read("now", 4), [4, 4, 0]);
    assert_eq!(read("now", 10), [10, 0, 0]);
}

/// Aggregates that live long cost one more statement, and only at the beginning.
#[test]
fn windows_that_do_not_serve_are_given_up() {
    let db = guarded("month", 30);
    let (mut client, store) = open(&db);
    live(&db, &mut client, &store, "long", &[-20, -10, 0]);
    for _ in 0..31 {
        assert_eq!(read(&mut client, &store, "long"), [1, 2, 3]);
    }
    assert_eq!(runs(&mut client), [8, 1, 31]);
    for _ in 0..2 {
        assert_eq!(read(&mut client, &store, "long"), [1, 2, 3]);
    }
    assert_eq!(runs(&mut client), [9, 1, 33]);
}

/// Statements live on the server: there must not be one for every month of a long history.
#[test]
fn few_statements_are_kept_on_the_connection() {
    let db = guarded("month", 70);
    let (mut client, store) = open(&db);
    let months: Vec<(i32, String)> = (-70..=0).map(|ahead| (ahead, ahead.to_string())).collect();
    for (ahead, id) in &months {
        live(&db, &mut client, &store, id, &[*ahead]);
    }
    for _ in 0..2 {
        for (_, id) in &months {
            assert_eq!(read(&mut client, &store, id), [1]);
        }
        assert_eq!(plans(&mut client, "UNION ALL").len(), 64);
    }
    drop(store);
    assert_eq!(plans(&mut client, "UNION ALL").len(), 0);
}

/// Aggregates of one id in two contexts, whose statements may not be mixed up.
#[test]
fn contexts_are_kept_apart() {
    for layout in LAYOUTS {
        let db = guarded(layout, 30);
        let (mut client, store) = open(&db);
        let bill = StreamId::new("Billing", "Order", "a");
        let mut bills = several("a", 3);
        for event in &mut bills {
            event.stream = bill.clone();
        }
        store.append(&mut client, ExpectedVersion::NoStream, &bills).expect(layout);
        store.append(&mut client, ExpectedVersion::NoStream, &several("a", 2)).expect(layout);
        let nowhere = StreamId::new("", "Order", "a");
        for _ in 0..9 {
            let mut read = |stream: &StreamId<'_>| {
                let events = store.read_stream(&mut client, stream, ..).expect(layout);
                assert!(events.iter().all(|event| event.stream() == *stream), "{layout}");
                versions(&events)
            };
            assert_eq!(read(&order("a")), [1, 2], "{layout}");
            assert_eq!(read(&bill), [1, 2, 3], "{layout}");
            assert_eq!(read(&nowhere), NONE, "{layout}");
        }
        let statements = plans(&mut client, "UNION ALL").len();
        assert_eq!(statements, if layout.contains("context") { 2 } else { 1 }, "{layout}");
    }
}

/// Without the guard nothing proves that versions are whole, so nothing is left out.
#[test]
fn without_the_guard_all_months_are_read() {
    let db = store("month");
    db.pupctl(["partitions", "ensure", "--from", &db.month(-30)]).success();
    let (mut client, store) = open(&db);
    store.append(&mut client, ExpectedVersion::Any, &several("a", 2)).expect("appended");
    assert_eq!(read(&mut client, &store, "a"), [1, 2]);
    assert_eq!(runs(&mut client), [0, 0, 1]);
}

/// A transaction that sees the past sees it in every statement, also in those prepared within it.
#[test]
fn a_repeatable_transaction_reads_the_same_again() {
    for layout in LAYOUTS {
        let db = guarded(layout, 30);
        let (mut writer, appends) = open(&db);
        live(&db, &mut writer, &appends, "now", &[0, 0]);
        live(&db, &mut writer, &appends, "past", &[-20, -20]);
        let (mut client, store) = open(&db);
        let repeatable = IsolationLevel::RepeatableRead;
        let mut transaction =
            client.build_transaction().isolation_level(repeatable).start().expect("a transaction");
        let mut read = |id: &str| {
            versions(&store.read_stream(&mut transaction, &order(id), ..).expect(layout))
        };
        assert_eq!(read("past"), [1, 2], "{layout}");
        live(&db, &mut writer, &appends, "now", &[0]);
        live(&db, &mut writer, &appends, "past", &[0]);
        for _ in 0..9 {
            assert_eq!(read("now"), [1, 2], "{layout}");
            assert_eq!(read("past"), [1, 2], "{layout}");
        }
        transaction.rollback().expect("an end");
        // What was prepared within the transaction is there after it.
        let prepared = plans(&mut client, "UNION ALL").len();
        for _ in 0..3 {
            assert_eq!(self::read(&mut client, &store, "now"), [1, 2, 3], "{layout}");
        }
        assert_eq!(plans(&mut client, "UNION ALL").len(), prepared, "{layout}");
    }
}

/// Nothing can be prepared in it either, and the error is that of any other statement.
#[test]
fn a_failed_transaction_says_so() {
    let db = guarded("month", 30);
    let (mut client, store) = open(&db);
    live(&db, &mut client, &store, "now", &[0, 0]);
    // Before anything is prepared for a window, and after.
    for _ in 0..2 {
        let mut transaction = client.transaction().expect("a transaction");
        transaction.batch_execute("SELECT 1 / 0").expect_err("a failure");
        let error = store.read_stream(&mut transaction, &order("now"), ..).expect_err("failed");
        assert!(error.message().contains("reading events"), "{error:?}");
        assert!(error.message().contains("current transaction is aborted"), "{error:?}");
        transaction.rollback().expect("an end");
        assert_eq!(read(&mut client, &store, "now"), [1, 2]);
    }
}

/// Also before a statement for a window was prepared, which another connection could do as well.
#[test]
fn windows_stay_on_the_connection_of_their_store() {
    let db = guarded("month", 30);
    let (mut client, store) = open(&db);
    live(&db, &mut client, &store, "now", &[0, 0]);
    let mut other = db.client();
    for _ in 0..2 {
        let error = store.read_stream(&mut other, &order("now"), ..).expect_err("not prepared");
        assert!(error.hint_text().expect("a hint").contains("one Store for each"));
        assert!(plans(&mut other, "UNION ALL").is_empty());
        assert_eq!(read(&mut client, &store, "now"), [1, 2]);
    }
}

/// Sessions may write dates and times in other ways, and live elsewhere.
#[test]
fn the_bounds_mean_the_same_in_every_session() {
    let db = guarded("month", 30);
    let (mut client, store) = open(&db);
    let first = at(&format!("{}-01T00:00:00Z", db.month(-21)));
    let last = at(&format!("{}-28T23:59:59.999999Z", db.month(-20)));
    let events = [first, last].map(|time| placed("edges").created_at(time));
    store.append(&mut client, ExpectedVersion::Any, &events).expect("appended");
    updated(&db, "edges", middle(&db, -20));
    for (zone, style) in [("Pacific/Kiritimati", "SQL, DMY"), ("Pacific/Niue", "German, YMD")] {
        let mut client = db.client();
        let set = format!("SET TimeZone = '{zone}'; SET DateStyle = '{style}'");
        client.batch_execute(&set).expect("a zone");
        let store = Store::open(&mut client, "public").expect("a store");
        for _ in 0..3 {
            assert_eq!(read(&mut client, &store, "edges"), [1, 2], "{zone}");
        }
        assert_eq!(runs(&mut client), [3, 3, 0], "{zone}");
    }
}

/// One store may be shared by threads that take turns on its connection.
#[test]
fn a_store_can_be_sent_and_shared() {
    let db = guarded("month", 30);
    let (mut client, store) = open(&db);
    live(&db, &mut client, &store, "now", &[0, 0]);
    thread::scope(|scope| {
        let found = scope.spawn(|| read(&mut client, &store, "now")).join().expect("no panic");
        assert_eq!(found, [1, 2]);
    });
    assert_eq!(read(&mut client, &store, "now"), [1, 2]);
}
