//! The indexes that are built on the old table while it is in use.

use std::time::Duration;

use crate::attach::{attach, one_context};
use crate::support::{TestDatabase, eventually};
use crate::{
    Kind, assert_checked, assert_nothing_left, assert_same, assert_same_text, convert, line, phase,
    rows, state,
};

/// Everything that is there of indexes, those that are not valid too.
fn invalid(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON indrelid = pg_class.oid
         WHERE relnamespace = 'public'::regnamespace AND NOT indisvalid ORDER BY 1",
    )
}

/// A session that keeps every concurrent build waiting.
fn hold(db: &TestDatabase) -> postgres::Client {
    let mut holder = db.client();
    holder
        .batch_execute(
            "SET application_name = 'slow report'; BEGIN ISOLATION LEVEL REPEATABLE READ;
             SELECT count(*) FROM pg_class",
        )
        .expect("a transaction");
    holder
}

#[test]
fn a_build_waits_for_others_without_keeping_anybody_waiting() {
    let db = one_context(Kind::Pupsourcing);
    let before = rows(&db);
    let mut holder = hold(&db);
    let run = db.command(line(&attach("start", "context"))).spawn();
    eventually("it builds", || phase(&db) == "indexing");
    std::thread::sleep(Duration::from_secs(2));
    // Writers go on.
    db.client()
        .batch_execute(
            "SET lock_timeout = 1000; BEGIN; INSERT INTO events (bounded_context, aggregate_type,
                aggregate_id, aggregate_version, event_id, event_type, payload)
             VALUES ('Quo''te \"d\"', 'a', 'b', 1, gen_random_uuid(), 'x', ''); ROLLBACK",
        )
        .expect("an event");
    holder.batch_execute("COMMIT").expect("the end");
    let run = run.wait().success();
    assert!(run.stderr.contains("slow report"), "{run}");
    assert_same(&before, &rows(&db), "waits");
    assert!(invalid(&db).is_empty());
}

#[test]
fn a_build_that_waits_can_be_interrupted() {
    let db = one_context(Kind::Pupsourcing);
    let (before, plain) = (rows(&db), state(&db));
    let mut holder = hold(&db);
    let run = db.command(line(&attach("start", "context"))).spawn();
    eventually("it builds", || {
        db.one(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                AND query LIKE '%CONCURRENTLY%' AND wait_event_type = 'Lock'",
        )
    });
    run.signal("INT");
    let run = run.wait().failure(130);
    assert!(run.stderr.contains("interrupted"), "{run}");
    assert_eq!(invalid(&db).len(), 1, "{:?}", invalid(&db));
    holder.batch_execute("COMMIT").expect("the end");
    drop(holder);
    eventually("nobody is there", || {
        db.one::<i64>("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            == 1
    });
    let other = TestDatabase::copy_of(&db);
    convert(&other, &["rollback"]).success();
    assert_same_text(&plain, &state(&other), "rollback");
    assert_nothing_left(&other, "rollback");
    let run = convert(&db, &["resume"]).success();
    assert!(invalid(&db).is_empty(), "{run}");
    convert(&db, &["swap"]).success();
    assert_same(&before, &rows(&db), "resume");
    assert_checked(&db);
}

#[test]
fn a_key_that_does_not_hold_is_told() {
    let db = crate::empty(Kind::Pupctl);
    db.execute(
        "ALTER TABLE events DROP CONSTRAINT events_event_id_key;
         INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'A', 'B', 'C', version, gen_random_uuid(), 'x', ''
         FROM generate_series(1, 5) AS version;
         INSERT INTO aggregate_heads VALUES ('A', 'B', 'C', 5)",
    );
    let mut words = line(&attach("start", "month"));
    words.extend(["-o", "json"]);
    let run = db.command(&words).failpoints("convert::built=return").run();
    if run.code == Some(1) {
        // The preflight has refused a store without its keys.
        return;
    }
    let run = run.killed();
    db.execute(
        "UPDATE events SET event_id = '00000000-0000-0000-0000-000000000001'
        WHERE aggregate_version < 3",
    );
    let refused = convert(&db, &["resume"]).failure(1);
    assert!(refused.stderr.contains("remove one of the two"), "{run} {refused}");
    assert_eq!(invalid(&db).len(), 1);
    db.execute("UPDATE events SET event_id = gen_random_uuid()");
    convert(&db, &["resume"]).success();
    assert!(invalid(&db).is_empty());
    convert(&db, &["swap"]).success();
    assert_checked(&db);
}
