//! Who has to have read a leaf before it may leave.

use std::time::Duration;

use pupctl::db::Interrupt;
use pupctl::db::fence::{self, Options, Place};
use pupctl::finding::fence::{Fence, Laggard};
use pupctl::layout::name::QualifiedName;

use crate::support::{Append, TestDatabase, TestServer};
use crate::{events, insert, store};

fn table(name: &str) -> QualifiedName {
    QualifiedName::new("public", name)
}

fn look(db: &TestDatabase, leaf: &str, options: &Options) -> Fence {
    let (leaf, events) = (table(leaf), events());
    let (heads, checkpoints) = (table("aggregate_heads"), table("projection_checkpoints"));
    let place =
        Place { leaf: &leaf, events: &events, heads: &heads, checkpoints: Some(&checkpoints) };
    fence::look(&mut db.client(), place, options, &Interrupt::default(), &mut |_| {})
        .expect("an answer")
}

fn options() -> Options {
    Options { patience: Duration::from_millis(300), ..Options::default() }
}

fn checkpoint(db: &TestDatabase, name: &str, position: i64) {
    let mut client = db.client();
    let sql = "INSERT INTO projection_checkpoints VALUES ($1, $2)
        ON CONFLICT (projection_name) DO UPDATE SET last_global_position = $2";
    client.execute(sql, &[&name, &position]).expect("a checkpoint");
}

#[test]
fn every_projection_has_to_pass_the_last_event() {
    let db = TestDatabase::new();
    store(&db);
    checkpoint(&db, "dead \"one\"", 0);
    assert!(look(&db, "events_a", &options()).is_open(), "an empty leaf");
    for context in ["A", "A", "A", "B"] {
        db.execute(&insert("events", context));
    }
    checkpoint(&db, "orders_p0", 3);
    checkpoint(&db, "orders_p1", 2);
    let fence = look(&db, "events_a", &options());
    assert_eq!(fence.last_position, Some(3));
    let error = fence.refusal().expect("a refusal");
    assert_eq!(error.detail_lines().len(), 2, "{:?}", error.detail_lines());
    // The statement of the refusal does what it says.
    let Laggard::Projection { name, remove, behind, .. } = &fence.laggards[0] else {
        panic!("{fence:?}")
    };
    assert_eq!((name.as_str(), *behind), ("dead \"one\"", 3));
    db.execute(remove);
    let ignore = Options { ignore_projections: ["orders_p1".to_owned()].into(), ..options() };
    let fence = look(&db, "events_a", &ignore);
    assert!(fence.is_open(), "{fence:?}");
    assert_eq!(fence.ignored.len(), 1);
    checkpoint(&db, "orders_p1", 4);
    assert!(look(&db, "events_a", &options()).is_open());
    let json = serde_json::to_value(look(&db, "events_b", &options())).expect("JSON");
    assert_eq!(json["laggards"][0]["kind"], "projection", "{json}");
}

#[test]
fn a_store_of_an_earlier_version_has_no_dead_letters() {
    let db = TestDatabase::new();
    store(&db);
    db.execute(&insert("events", "A"));
    checkpoint(&db, "orders", 1);
    let letter = "INSERT INTO projection_dead_letters (projection, global_position,
            bounded_context, aggregate_type, aggregate_id, aggregate_version, event_id, event_type,
            state)
        SELECT 'orders', global_position, bounded_context, aggregate_type, aggregate_id, 1,
            event_id, event_type, 'failed' FROM events";
    db.execute(letter);
    let fence = look(&db, "events_a", &options());
    let [Laggard::DeadLetters { projection, events: 1, position: 1 }] = &fence.laggards[..] else {
        panic!("{fence:?}")
    };
    assert_eq!(projection, "orders");
    let json = serde_json::to_value(&fence).expect("JSON");
    assert_eq!(json["laggards"][0]["kind"], "dead_letters", "{json}");
    assert!(look(&db, "events_b", &options()).is_open());
    db.execute(
        "DROP TABLE projection_dead_letters;
         ALTER TABLE projection_checkpoints DROP COLUMN projection",
    );
    assert!(look(&db, "events_a", &options()).is_open());
    checkpoint(&db, "orders", 0);
    assert!(!look(&db, "events_a", &options()).is_open());
    let ignore = Options { ignore_projections: ["orders".to_owned()].into(), ..options() };
    assert!(look(&db, "events_a", &ignore).is_open());
}

#[test]
fn the_checkpoints_can_be_looked_at_in_a_transaction() {
    let db = TestDatabase::new();
    store(&db);
    db.execute(&insert("events", "A"));
    checkpoint(&db, "orders", 0);
    let mut client = db.client();
    let mut transaction = client.transaction().expect("a transaction");
    transaction.batch_execute("LOCK TABLE events_a IN SHARE MODE").expect("a lock");
    let checkpoints = table("projection_checkpoints");
    let fence = fence::look_at_checkpoints(
        &mut transaction,
        &table("events_a"),
        Some(&checkpoints),
        &options(),
    );
    assert!(!fence.expect("an answer").is_open());
}

#[test]
fn open_transactions_hold_the_leaf() {
    let db = TestDatabase::new();
    store(&db);
    db.execute(&insert("events", "A"));
    let mut writer = db.client();
    writer.batch_execute(&format!("BEGIN; {}", insert("events", "A"))).expect("an event");
    let fence = look(&db, "events_a", &options());
    assert!(matches!(&fence.laggards[..], [Laggard::Unsettled { position: 2, .. }]), "{fence:?}");
    writer.batch_execute("COMMIT").expect("the end");
    let fence = look(&db, "events_a", &options());
    assert!(fence.is_open(), "{fence:?}");
    assert_eq!(fence.last_position, Some(2));
}

#[test]
fn positions_that_the_sequence_has_not_reached_hold_the_leaf() {
    let db = TestDatabase::new();
    store(&db);
    db.execute(&insert("events", "A"));
    db.execute("UPDATE events SET global_position = 100");
    let fence = look(&db, "events_a", &options());
    assert!(matches!(fence.laggards[..], [Laggard::AheadOfSequence { position: 1 }]), "{fence:?}");
}

#[test]
fn streams_that_go_on_are_counted() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "0"]).success();
    let (before, now) = (db.month(-1), db.month(0));
    db.pupctl(["partitions", "ensure", "--from", &before]).success();
    let mut client = db.client();
    let mut append = |id, events, month: &str| {
        let created_at = format!("{month}-01T00:00:00Z");
        let append = Append { context: "A", id, head: None, events, created_at: &created_at };
        append.run(&mut client).expect("an append");
    };
    for id in ["1", "2", "3", "4", "5"] {
        append(id, 2, &before);
    }
    for id in ["2", "3", "4", "5"] {
        append(id, 3, &now);
    }
    let leaf = format!("events_{}", before.replace('-', "_"));
    let fence = look(&db, &leaf, &options());
    let error = fence.refusal().expect("a refusal");
    assert_eq!(error.detail_lines()[0], "4 aggregates go on after its last event there");
    assert_eq!(error.detail_lines()[1], "A/Order/2 ends there at version 2, and is at 5");
    assert_eq!(error.detail_lines().len(), 4);
    assert!(error.hint_text().is_some_and(|hint| hint.contains("--allow-split-streams")));
    let allowed = Options { allow_split_streams: true, ..options() };
    assert!(look(&db, &leaf, &allowed).is_open());
    let leaf = format!("events_{}", now.replace('-', "_"));
    assert!(look(&db, &leaf, &options()).is_open());
}

#[test]
fn a_replication_slot_has_to_confirm_what_was_written() {
    let server = TestServer::private(&[("wal_level", "logical"), ("max_replication_slots", "4")]);
    let db = TestDatabase::on(&server);
    store(&db);
    db.execute("SELECT pg_create_logical_replication_slot('it_is_slow', 'test_decoding')");
    db.execute(&insert("events", "A"));
    let fence = look(&db, "events_a", &options());
    let Some(Laggard::Slot { active: false, remove, behind_bytes, .. }) = fence.laggards.first()
    else {
        panic!("{fence:?}")
    };
    assert!(*behind_bytes > 0);
    let lines = fence.refusal().expect("a refusal").detail_lines().join("\n");
    assert!(lines.contains("the replication slot it_is_slow (inactive) has confirmed"), "{lines}");
    let ignore = Options { ignore_slots: ["it_is_slow".to_owned()].into(), ..options() };
    assert!(look(&db, "events_a", &ignore).is_open());
    // What it has read it confirms, whatever is written after the place that is remembered.
    let lsn = Some(fence::end_of_log(&mut db.client()).expect("the end of the log"));
    db.execute("SELECT count(*) FROM pg_logical_slot_get_changes('it_is_slow', NULL, NULL)");
    db.execute(&insert("events", "B"));
    assert!(look(&db, "events_a", &Options { lsn, ..options() }).is_open());
    // Another database's slots read other events.
    let other = TestDatabase::on(&server);
    store(&other);
    other.execute(&insert("events", "A"));
    assert!(look(&other, "events_a", &options()).is_open());
    db.execute(remove);
    assert!(look(&db, "events_a", &options()).is_open());
}
