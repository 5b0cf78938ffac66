//! What cannot be appended is told before anything is sent; what the server refuses, in full.

use pupctl::error::Kind;
use pupctl::store::{AppendError, ExpectedVersion, NewEvent, PAYLOAD_BYTES_MAX, StreamId};

use crate::support::TestDatabase;
use crate::{at, open, order, placed, store};

#[test]
fn bad_input_leaves_the_transaction_alone() {
    let db = store("none");
    let (mut client, store) = open(&db);
    let store = store.payload_bytes_max(100);
    let mut transaction = client.transaction().expect("a transaction");
    let any = ExpectedVersion::Any;
    let mut refused = |expected, events: &[NewEvent<'_>]| {
        store.append(&mut transaction, expected, events).expect_err("bad input")
    };

    assert!(matches!(refused(any, &[]), AppendError::NoEvents));
    let mut other_type = placed("a");
    other_type.stream.aggregate_type = "Invoice".into();
    for other in [placed("b"), other_type] {
        let error = refused(any, &[placed("a"), other]);
        assert!(matches!(error, AppendError::SeveralAggregates { event: 1 }), "{error:?}");
    }
    let error = refused(ExpectedVersion::Exact(-1), &[placed("a")]);
    assert!(matches!(error, AppendError::NegativeVersion { expected: -1 }), "{error:?}");
    let error = refused(ExpectedVersion::Exact(i64::MAX), &[placed("a")]);
    assert!(matches!(error, AppendError::VersionOverflow { events: 1, .. }), "{error:?}");
    let large = || placed("a").payload(vec![0; 60]);
    let error = refused(any, &[large(), large()]);
    assert!(matches!(error, AppendError::PayloadTooLarge { bytes: 120, limit: 100 }), "{error:?}");

    // Each is an error of the library too, with what mends it.
    let error: pupctl::Error = error.into();
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(error.message(), "the payloads have 120 bytes; the limit is 100");
    assert!(error.hint_text().is_some());

    store.append(&mut transaction, any, &[large()]).expect("the transaction goes on");
    transaction.commit().expect("committed");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 1);
}

#[test]
fn the_limit_of_payloads_cannot_be_raised() {
    let db = store("none");
    let (_, store) = open(&db);
    let debug = format!("{:?}", store.payload_bytes_max(usize::MAX));
    assert!(debug.contains(&format!("payload_bytes_max: {PAYLOAD_BYTES_MAX}")), "{debug}");
}

/// With any version the head is known to the server alone.
#[test]
fn the_last_version_of_all_has_no_next() {
    let db = store("none");
    let (mut client, store) = open(&db);
    db.execute(&format!(
        "INSERT INTO aggregate_heads VALUES ('Sales', 'Order', 'a', {})",
        i64::MAX
    ));
    let error = store.append(&mut client, ExpectedVersion::Any, &[placed("a")]);
    match error.expect_err("no next version") {
        AppendError::Database(error) => assert_eq!(error.sqlstate(), Some("22003"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn database_error(error: AppendError, message: &str, hint: &str) {
    let error = pupctl::Error::from(error);
    assert!(error.message().contains(message), "{error}");
    let found = error.hint_text().unwrap_or_default();
    assert!(found.contains(hint), "{error}: {found}");
}

#[test]
fn a_missing_partition_names_the_command_that_makes_it() {
    let db = store("context,month");
    let (mut client, store) = open(&db);
    let past = placed("a").created_at(at("1999-12-31T23:59:59Z"));
    let error = store.append(&mut client, ExpectedVersion::Any, &[past]).expect_err("no month");
    database_error(error, "no partition of relation", "pupctl partitions ensure");
    let mut unknown = placed("a");
    unknown.stream = StreamId::new("Unheard", "Order", "a");
    let error =
        store.append(&mut client, ExpectedVersion::Any, &[unknown]).expect_err("no context");
    database_error(error, "no partition of relation", "pupctl contexts add");
}

#[test]
fn a_store_works_on_its_own_connection_alone() {
    let db = store("hash");
    let (mut client, store) = open(&db);
    let mut other = db.client();
    let error = store.append(&mut other, ExpectedVersion::Any, &[placed("a")]);
    database_error(error.expect_err("not prepared"), "does not exist", "one Store for each");
    let error = store.read_stream(&mut other, &order("a"), ..).expect_err("not prepared");
    assert!(error.hint_text().expect("a hint").contains("one Store for each"));
    store.append(&mut client, ExpectedVersion::Any, &[placed("a")]).expect("its own");

    client.batch_execute("DEALLOCATE ALL").expect("forgotten");
    let error = store.append(&mut client, ExpectedVersion::Any, &[placed("a")]);
    database_error(error.expect_err("forgotten"), "does not exist", "again after DISCARD");
}

#[test]
fn a_role_without_rights_is_told_which_it_lacks() {
    let db = store("month");
    let role = format!("reader_of_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role};
         GRANT SELECT ON events, aggregate_heads, pupctl_layout TO {role}"
    ));
    let mut client = db.client();
    client.batch_execute(&format!("SET ROLE {role}")).expect("the role");
    let store = pupctl::store::Store::open(&mut client, "public").expect("reading is allowed");
    assert!(store.read_stream(&mut client, &order("a"), ..).expect("no events").is_empty());
    let error = store.append(&mut client, ExpectedVersion::Any, &[placed("a")]);
    database_error(error.expect_err("no right"), "permission denied", "owner");
    drop(client);
    drop_role(&db, &role);
}

fn drop_role(db: &TestDatabase, role: &str) {
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Columns that a team added, with and without a default.
#[test]
fn further_columns_do_not_matter() {
    let db = store("month");
    db.execute("ALTER TABLE events ADD COLUMN tenant text, ADD COLUMN shard int DEFAULT 3");
    let (mut client, store) = open(&db);
    store.append(&mut client, ExpectedVersion::Any, &[placed("a")]).expect("appended");
    // While statements are prepared, too.
    db.execute("ALTER TABLE events ADD COLUMN region text");
    store.append(&mut client, ExpectedVersion::Any, &[placed("a")]).expect("appended");
    assert_eq!(store.read_stream(&mut client, &order("a"), ..).expect("events").len(), 2);
}
