//! What reads give, by versions and by positions.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use pupctl::store::ExpectedVersion;

use crate::{LAYOUTS, open, order, placed, several, store, versions};

const NONE: [i64; 0] = [];

#[test]
fn a_range_of_versions_is_what_comes_back() {
    for layout in LAYOUTS {
        let db = store(layout);
        let (mut client, store) = open(&db);
        store.append(&mut client, ExpectedVersion::NoStream, &several("a", 9)).expect(layout);
        store.append(&mut client, ExpectedVersion::NoStream, &several("b", 2)).expect(layout);
        let mut read = |range: (Bound<i64>, Bound<i64>)| {
            versions(&store.read_stream(&mut client, &order("a"), range).expect(layout))
        };
        assert!(read((Unbounded, Unbounded)).into_iter().eq(1..=9), "{layout}");
        assert_eq!(read((Included(7), Unbounded)), [7, 8, 9], "{layout}");
        assert_eq!(read((Excluded(7), Unbounded)), [8, 9], "{layout}");
        assert_eq!(read((Included(2), Excluded(4))), [2, 3], "{layout}");
        assert_eq!(read((Unbounded, Included(2))), [1, 2], "{layout}");
        assert_eq!(read((Included(9), Included(9))), [9], "{layout}");
        assert_eq!(read((Included(10), Unbounded)), NONE, "{layout}");
        assert_eq!(read((Included(4), Excluded(4))), NONE, "{layout}");
        let none = store.read_stream(&mut client, &order("nobody"), ..).expect(layout);
        assert!(none.is_empty(), "{layout}");
    }
}

#[test]
fn all_events_come_in_the_order_of_their_positions() {
    for layout in LAYOUTS {
        let db = store(layout);
        let (mut client, store) = open(&db);
        for id in ["a", "b", "c"] {
            store.append(&mut client, ExpectedVersion::NoStream, &several(id, 3)).expect(layout);
        }
        store.append(&mut client, ExpectedVersion::Any, &[placed("a")]).expect(layout);
        let mut seen = Vec::new();
        let mut after = 0;
        loop {
            let batch = store.read_all(&mut client, after, 4).expect(layout);
            assert!(batch.len() <= 4, "{layout}");
            let Some(last) = batch.last() else { break };
            after = last.global_position;
            seen.extend(batch.into_iter().map(|event| event.global_position));
        }
        assert!(seen.iter().copied().eq(1..=10), "{layout}: {seen:?}");
        assert!(store.read_all(&mut client, 0, 0).expect(layout).is_empty(), "{layout}");
    }
}

#[test]
fn what_is_not_committed_is_not_read() {
    let db = store("context,month");
    let (mut client, store) = open(&db);
    let (mut other, others) = open(&db);
    let mut transaction = other.transaction().expect("a transaction");
    let events = several("a", 2);
    others.append(&mut transaction, ExpectedVersion::NoStream, &events).expect("appended");
    assert!(store.read_stream(&mut client, &order("a"), ..).expect("none yet").is_empty());
    assert!(store.read_all(&mut client, 0, 10).expect("none yet").is_empty());
    transaction.commit().expect("committed");
    assert_eq!(store.read_stream(&mut client, &order("a"), ..).expect("both").len(), 2);
}

/// PostgreSQL plans a statement five times for its values, then compares the costs. One plan for
/// all streams must look cheaper, or every read of many months would be planned anew.
#[test]
fn reads_of_many_months_are_not_planned_every_time() {
    let db = store("month");
    db.pupctl(["partitions", "ensure", "--from", &db.month(-30)]).success();
    let (mut client, store) = open(&db);
    let ids: Vec<String> = (0..20).map(|number| format!("order-{number}")).collect();
    for id in &ids {
        store.append(&mut client, ExpectedVersion::NoStream, &several(id, 10)).expect("appended");
    }
    db.execute("ANALYZE");
    for id in &ids {
        let stored = store.read_stream(&mut client, &order(id), ..).expect("events");
        assert_eq!(stored.len(), 10);
    }
    let plans = "SELECT custom_plans, generic_plans FROM pg_prepared_statements
        WHERE statement LIKE '%aggregate_version BETWEEN%'
            AND statement NOT LIKE '%pg_prepared_statements%'";
    let row = client.query_one(plans, &[]).expect("one statement");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (5, 15));
}
