//! What append writes, on every layout, in transactions and without.

use postgres::IsolationLevel;
use pupctl::store::{ExpectedVersion, NewEvent, Store};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Append, TestDatabase};
use crate::{LAYOUTS, at, head, open, order, placed, several, store, versions};

#[test]
fn every_layout_takes_events_and_gives_them_back() {
    for layout in LAYOUTS {
        let db = store(layout);
        let (mut client, store) = open(&db);
        let one = store.append(&mut client, ExpectedVersion::NoStream, &[placed("a")]);
        let one = one.expect(layout);
        assert_eq!((one.first_version, one.last_version, one.positions.len()), (1, 1, 1));
        let more = store.append(&mut client, ExpectedVersion::Exact(1), &several("a", 3));
        let more = more.expect(layout);
        assert_eq!((more.first_version, more.last_version), (2, 4), "{layout}");
        let rest = store.append(&mut client, ExpectedVersion::Any, &several("a", 2)).expect(layout);
        assert_eq!((rest.first_version, rest.last_version), (5, 6), "{layout}");
        let last = store.append(&mut client, ExpectedVersion::Any, &[placed("a")]).expect(layout);
        assert_eq!((last.first_version, last.last_version), (7, 7), "{layout}");

        let events = store.read_stream(&mut client, &order("a"), ..).expect(layout);
        assert_eq!(versions(&events), [1, 2, 3, 4, 5, 6, 7], "{layout}");
        let positions: Vec<i64> = events.iter().map(|event| event.global_position).collect();
        let told = [one.positions, more.positions, rest.positions, last.positions].concat();
        assert_eq!(positions, told, "{layout}");
        assert!(told.is_sorted_by(|before, after| before < after), "{layout}: {told:?}");
        assert_eq!(head(&db, "a"), Some(7), "{layout}");
    }
}

fn whole_event() -> NewEvent<'static> {
    let id = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
    NewEvent::new(order("whole"), id, "Order\"Placed'; --")
        .event_version(7)
        .payload(vec![0, 255, 10])
        .trace_id("trace")
        .correlation_id("größer")
        .causation_id("")
        .metadata(json!({"user": "O'Neill", "deep": [1, 2.5, null]}))
        .created_at(at("2026-11-21T10:30:00.123456Z"))
}

#[test]
fn every_field_comes_back_as_it_was_alone_and_among_others() {
    let db = store("none");
    let (mut client, store) = open(&db);
    let alone = whole_event();
    let mut among = several("whole", 3);
    among[1] = alone.clone();
    among[1].event_id = Uuid::from_u128(7);
    for events in [std::slice::from_ref(&alone), among.as_slice()] {
        store.append(&mut client, ExpectedVersion::Any, events).expect("appended");
    }
    let stored = store.read_stream(&mut client, &order("whole"), ..).expect("events");
    assert_eq!(stored.len(), 4);
    for event in [&stored[0], &stored[2]] {
        assert_eq!(event.stream(), alone.stream);
        assert_eq!(event.event_type, alone.event_type);
        assert_eq!(event.event_version, 7);
        assert_eq!(event.payload, [0, 255, 10]);
        assert_eq!(event.trace_id.as_deref(), Some("trace"));
        assert_eq!(event.correlation_id.as_deref(), Some("größer"));
        assert_eq!(event.causation_id.as_deref(), Some(""));
        assert_eq!(event.metadata, alone.metadata);
        assert_eq!(Some(event.created_at), alone.created_at);
    }
    assert_eq!(stored[0].event_id, alone.event_id);
    let plain = &stored[1];
    assert_eq!((plain.event_version, plain.trace_id.as_deref(), &plain.metadata), (1, None, &None));
}

#[test]
fn the_server_tells_the_time_where_the_writer_does_not() {
    let db = store("month");
    let (mut client, store) = open(&db);
    let mut transaction = client.transaction().expect("a transaction");
    store.append(&mut transaction, ExpectedVersion::Any, &[placed("a")]).expect("appended");
    store.append(&mut transaction, ExpectedVersion::Any, &several("a", 2)).expect("appended");
    let same: bool = transaction
        .query_one("SELECT bool_and(created_at = now()) FROM events", &[])
        .expect("a row")
        .get(0);
    assert!(same);
}

#[test]
fn several_appends_are_one_transaction() {
    for layout in LAYOUTS {
        let db = store(layout);
        let (mut client, store) = open(&db);
        let append = |end: bool| {
            let mut transaction = client.transaction().expect("a transaction");
            let none = ExpectedVersion::NoStream;
            store.append(&mut transaction, none, &[placed("a")]).expect(layout);
            store.append(&mut transaction, none, &several("b", 2)).expect(layout);
            let next = store.append(&mut transaction, ExpectedVersion::Exact(1), &[placed("a")]);
            assert_eq!(next.expect(layout).last_version, 2);
            // What the transaction wrote, it reads.
            let events = store.read_stream(&mut transaction, &order("a"), ..).expect(layout);
            assert_eq!(versions(&events), [1, 2], "{layout}");
            if end { transaction.commit() } else { transaction.rollback() }.expect(layout);
        };
        let mut append = append;
        append(false);
        assert_eq!((head(&db, "a"), head(&db, "b")), (None, None), "{layout}");
        append(true);
        assert_eq!((head(&db, "a"), head(&db, "b")), (Some(2), Some(2)), "{layout}");
    }
}

#[test]
fn a_savepoint_takes_an_append_back() {
    let db = store("context,month");
    let (mut client, store) = open(&db);
    let mut transaction = client.transaction().expect("a transaction");
    store.append(&mut transaction, ExpectedVersion::NoStream, &[placed("a")]).expect("appended");
    let mut savepoint = transaction.transaction().expect("a savepoint");
    store.append(&mut savepoint, ExpectedVersion::Exact(1), &[placed("a")]).expect("appended");
    savepoint.rollback().expect("taken back");
    let next = store.append(&mut transaction, ExpectedVersion::Exact(1), &[placed("a")]);
    assert_eq!(next.expect("appended").last_version, 2);
    transaction.commit().expect("committed");
    assert_eq!(head(&db, "a"), Some(2));
}

#[test]
fn stricter_isolation_works_alone() {
    let db = store("hash,month");
    let (mut client, store) = open(&db);
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        let mut transaction =
            client.build_transaction().isolation_level(level).start().expect("a transaction");
        store.append(&mut transaction, ExpectedVersion::Any, &several("a", 2)).expect("appended");
        transaction.commit().expect("committed");
    }
    assert_eq!(head(&db, "a"), Some(4));
}

#[test]
fn one_append_holds_a_thousand_events() {
    let db = store("context,hash");
    let (mut client, store) = open(&db);
    let events = several("a", 1000);
    let appended = store.append(&mut client, ExpectedVersion::NoStream, &events).expect("appended");
    assert_eq!((appended.last_version, appended.positions.len()), (1000, 1000));
    let stored = store.read_stream(&mut client, &order("a"), ..).expect("events");
    let ids = |event: &pupctl::store::StoredEvent| event.event_id;
    assert!(stored.iter().map(ids).eq(events.iter().map(|event| event.event_id)));
}

#[test]
fn writers_of_the_go_library_and_of_this_one_take_turns() {
    for layout in LAYOUTS {
        let db = store(layout);
        let (mut client, store) = open(&db);
        let now: String =
            db.one("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI Z')");
        let theirs = Append { context: "Sales", id: "a", head: None, events: 2, created_at: &now };
        let now = now.replace('Z', "UTC");
        let theirs = Append { created_at: &now, ..theirs };
        theirs.run(&mut db.client()).expect(layout);
        let ours = store.append(&mut client, ExpectedVersion::Exact(2), &several("a", 2));
        assert_eq!(ours.expect(layout).last_version, 4);
        theirs.run(&mut db.client()).expect(layout);
        let stored = store.read_stream(&mut client, &order("a"), ..).expect(layout);
        assert_eq!(versions(&stored), [1, 2, 3, 4, 5, 6], "{layout}");
    }
}

#[test]
fn a_store_opens_where_one_is() {
    let db = TestDatabase::new();
    let error = Store::open(&mut db.client(), "public").expect_err("there is none");
    assert_eq!(error.message(), "the schema `public` holds no event store");
    assert!(error.hint_text().expect("a hint").contains("pupctl schema init"));

    let db = store("none");
    db.execute("DELETE FROM pupctl_layout");
    let error = Store::open(&mut db.client(), "public").expect_err("it has no layout");
    assert_eq!(error.message(), "the schema `public` holds no event store");

    let db = store_without_events();
    let error = Store::open(&mut db.client(), "public").expect_err("it has no events");
    assert!(error.message().contains("does not exist"), "{error}");
    assert_eq!(error.hint_text(), Some("the tables of the stored layout are gone"));
}

fn store_without_events() -> TestDatabase {
    let db = store("none");
    db.execute("DROP TABLE events");
    db
}
