//! Where nothing can be said about what is settled, and who is named when it takes too long.

use std::time::{Duration, Instant};

use pupctl::error::Kind;

use crate::support::{TestDatabase, TestServer};
use crate::{events, insert, store, wait};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn an_empty_store_is_settled_at_nothing() {
    let db = TestDatabase::new();
    store(&db);
    assert_eq!(wait(&mut db.client(), SHORT).expect("settled"), 0);
    db.execute(&insert("events", "A"));
    assert_eq!(wait(&mut db.client(), SHORT).expect("settled"), 1);
}

#[test]
fn the_sessions_that_hold_it_up_are_named() {
    let server = TestServer::private(&[("max_prepared_transactions", "5")]);
    let db = TestDatabase::on(&server);
    store(&db);
    let mut writer = db.client();
    writer.batch_execute("SET application_name = 'slow writer'").expect("a name");
    writer.batch_execute(&format!("BEGIN; {}", insert("events_b", "B"))).expect("an event");
    let mut other = db.client();
    let gid = "pay it's later";
    let prepare =
        format!("BEGIN; {}; PREPARE TRANSACTION 'pay it''s later'", insert("events", "A"));
    other.batch_execute(&prepare).expect("prepared");
    drop(other);

    let begin = Instant::now();
    let error = wait(&mut db.client(), SHORT).expect_err("held up");
    assert!(begin.elapsed() >= SHORT);
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(
        error.message(),
        "events up to position 2 may still appear: transactions that write to the store are open"
    );
    let lines = error.detail_lines().join("\n");
    assert_eq!(error.detail_lines().len(), 2, "{lines}");
    assert!(lines.contains("slow writer, idle in transaction), open since 20"), "{lines}");
    assert!(lines.contains(&format!("the prepared transaction {gid:?} (")), "{lines}");

    writer.batch_execute("COMMIT").expect("the end");
    let error = wait(&mut db.client(), SHORT).expect_err("still held up");
    assert_eq!(error.detail_lines().len(), 1, "{:?}", error.detail_lines());
    db.execute("ROLLBACK PREPARED 'pay it''s later'");
    assert_eq!(wait(&mut db.client(), SHORT).expect("settled"), 2);
}

#[test]
fn readers_and_those_who_come_later_are_not_waited_for() {
    let db = TestDatabase::new();
    store(&db);
    db.execute(&insert("events", "A"));
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT count(*) FROM events FOR UPDATE OF events").ok();
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT count(*) FROM events").expect("a reader");
    assert_eq!(wait(&mut db.client(), SHORT).expect("settled"), 1);

    // One after the other, without a moment in which nobody writes.
    let mut first = db.client();
    let mut second = db.client();
    first.batch_execute(&format!("BEGIN; {}", insert("events", "A"))).expect("an event");
    let position = std::thread::scope(|scope| {
        let waits = scope.spawn(|| wait(&mut db.client(), Duration::from_secs(20)));
        std::thread::sleep(Duration::from_millis(100));
        second.batch_execute(&format!("BEGIN; {}", insert("events", "A"))).expect("an event");
        first.batch_execute("COMMIT").expect("the end");
        waits.join().expect("no panic").expect("settled")
    });
    assert_eq!(position, 2);
    second.batch_execute("ROLLBACK").expect("the end");
}

#[test]
fn whoever_locks_the_table_more_strongly_may_draw_without_another_lock() {
    for mode in ["SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"] {
        let db = TestDatabase::new();
        store(&db);
        let mut writer = db.client();
        let lock = format!(
            "BEGIN; LOCK TABLE events IN {mode} MODE; SELECT nextval('events_global_position_seq')"
        );
        writer.batch_execute(&lock).expect("a lock");
        wait(&mut db.client(), SHORT).expect_err(mode);
    }
}

#[test]
fn sequences_that_do_not_count_one_by_one_are_refused() {
    for (change, words) in
        [("CACHE 20", "has CACHE 20"), ("INCREMENT 2", "has INCREMENT 2"), ("CYCLE", "has CYCLE")]
    {
        let db = TestDatabase::new();
        store(&db);
        db.execute(&format!("ALTER SEQUENCE events_global_position_seq {change}"));
        let error = wait(&mut db.client(), SHORT).expect_err(change);
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.message().contains(words), "{}", error.message());
    }
    let db = TestDatabase::new();
    store(&db);
    db.execute(
        "CREATE SEQUENCE other; ALTER TABLE events_a ALTER global_position SET DEFAULT nextval('other')",
    );
    let error = wait(&mut db.client(), SHORT).expect_err("two sequences");
    assert!(error.message().contains("come from 2 sequences"), "{}", error.message());
}

#[test]
fn an_identity_column_has_its_sequence_too() {
    let db = TestDatabase::new();
    db.execute("CREATE TABLE events (global_position bigint GENERATED ALWAYS AS IDENTITY)");
    db.execute("INSERT INTO events DEFAULT VALUES");
    assert_eq!(wait(&mut db.client(), SHORT).expect("settled"), 1);
}

#[test]
fn a_table_that_a_subscription_fills_is_refused() {
    let db = TestDatabase::new();
    store(&db);
    db.execute(
        "CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p WITH (connect = false)",
    );
    db.execute(
        "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate)
         SELECT oid, 'events_a'::regclass, 'r' FROM pg_subscription WHERE subname = 's'",
    );
    let error = wait(&mut db.client(), SHORT).expect_err("a subscriber");
    assert!(error.message().contains("is filled by a subscription"), "{}", error.message());
    db.execute("DELETE FROM pg_subscription_rel");
    db.execute("ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s");
}

#[test]
fn who_may_not_read_the_sequence_is_told() {
    let db = TestDatabase::new();
    store(&db);
    let role = format!("role_{}", db.name());
    db.execute(&format!("CREATE ROLE {role}; GRANT SELECT ON events TO {role}"));
    let mut client = db.client();
    client.batch_execute(&format!("SET ROLE {role}")).expect("a role");
    let error = wait(&mut client, SHORT).expect_err("no right");
    assert!(error.message().contains("may not read the sequence"), "{}", error.message());
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_table_that_is_missing_is_told() {
    let db = TestDatabase::new();
    let error = wait(&mut db.client(), SHORT).expect_err("no table");
    assert_eq!(error.message(), format!("the table {} is missing", events()));
}
