//! What is committed between the fence and the detach is not lost to anybody.

use std::time::Duration;

use crate::support::{Background, TestDatabase, eventually};
use crate::{archive, archives, checkpoint, count, events, everywhere, park, store, verified};

/// Starts an archive that pauses at a point, and waits until it is there.
fn paused(db: &TestDatabase, arguments: &[&str], point: &str, record: &str) -> Background {
    let line = ["archive", "--yes"].iter().chain(arguments);
    let run = db.command(line).failpoints(&format!("{point}=sleep(1500)")).spawn();
    eventually("the archive is begun", || {
        let there = "SELECT to_regclass('public.pupctl_archives') IS NOT NULL";
        db.one::<bool>(there) && archives(db).iter().any(|line| line == record)
    });
    run
}

/// An event of an aggregate of its own, in a month that is over.
fn late(db: &TestDatabase, id: &str) -> i64 {
    db.one(&format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         VALUES ('A', 'Order', '{id}', 1, gen_random_uuid(), 'Placed', '', '{}-05 00:00:00+00')
         RETURNING global_position",
        db.month(-2)
    ))
}

#[test]
fn a_month_to_which_an_event_came_stays() {
    let db = store("month", &["--immutable", "--event-ids"]);
    events(&db, "A", -2, 3);
    checkpoint(&db, "orders", 6);
    let leaf = crate::leaf(&db, "events", -2);
    let (month, before) = (db.month(-2), db.dump());
    let record = format!("{leaf}: detaching");
    // The row is there and the fence was asked; the next thing is another look, and the detach.
    let run = paused(&db, &[&month, "--drop"], "execute::before_step", &record);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(late(&db, "late"), 7);
    let refused = run.wait().failure(1);
    assert!(refused.stderr.contains("the projection orders is at position 6"), "{refused}");
    assert_eq!(count(&db, "events"), 7);
    assert_eq!(archives(&db), [format!("{leaf}: aborted")]);
    assert_eq!(everywhere::outside(&db), Vec::<String>::new());
    verified(&db);
    assert_eq!(db.dump(), before);
    checkpoint(&db, "orders", 7);
    archive(&db, &[&month, "--drop"]).success();
    assert_eq!(everywhere::of_files(&db).rows, 7);
    assert_eq!(everywhere::outside(&db), Vec::<String>::new());
}

#[test]
fn without_projections_it_leaves_with_the_others() {
    let db = store("month", &[]);
    events(&db, "A", -2, 3);
    let record = format!("{}: detaching", crate::leaf(&db, "events", -2));
    let run = paused(&db, &[&db.month(-2), "--drop"], "execute::before_step", &record);
    std::thread::sleep(Duration::from_millis(200));
    late(&db, "late");
    run.wait().success();
    assert_eq!(everywhere::of_files(&db).rows, 7);
}

#[test]
fn beside_a_default_partition_nothing_is_changed() {
    let db = store("month", &[]);
    db.execute("CREATE TABLE events_default PARTITION OF events DEFAULT");
    events(&db, "A", -2, 3);
    checkpoint(&db, "orders", 6);
    let before = db.dump();
    let record = format!("{}: detaching", crate::leaf(&db, "events", -2));
    let run = paused(&db, &[&db.month(-2), "--drop"], "execute::before_step", &record);
    std::thread::sleep(Duration::from_millis(200));
    late(&db, "late");
    let refused = run.wait().failure(1);
    assert!(refused.stderr.contains("the projection orders is at position 6"), "{refused}");
    assert_eq!((count(&db, "events"), db.dump()), (7, before));
    checkpoint(&db, "orders", 7);
    archive(&db, &[&db.month(-2), "--drop"]).success();
    assert_eq!(everywhere::of_files(&db).rows, 7);
}

#[test]
fn what_comes_to_a_context_stays_live() {
    let db = store("context", &["--immutable", "--event-ids"]);
    events(&db, "A", -2, 3);
    checkpoint(&db, "orders", 6);
    let run = paused(&db, &["A", "--drop"], "archive::replaced", "events_a: detaching");
    eventually("the next leaf is made", || everywhere::outside(&db).len() == 1);
    late(&db, "late");
    run.wait().success();
    assert_eq!(everywhere::of_files(&db).rows, 6);
    assert_eq!(db.one::<i64>("SELECT global_position FROM events"), 7);
    assert_eq!(everywhere::outside(&db), Vec::<String>::new());
    verified(&db);
    // It is one of the store's as every other: its version is taken, and it cannot be changed.
    let again = "INSERT INTO events SELECT (jsonb_populate_record(event, '{\"global_position\": 99}')).* FROM events AS event";
    db.client().batch_execute(again).expect_err("the same version");
    db.client().batch_execute("UPDATE events SET payload = 'x'").expect_err("immutable");
}

#[test]
fn what_is_parked_meanwhile_stays() {
    let db = store("context", &[]);
    events(&db, "A", -2, 3);
    checkpoint(&db, "orders", 6);
    let run = paused(&db, &["A", "--drop"], "archive::replaced", "events_a: detaching");
    eventually("the next leaf is made", || everywhere::outside(&db).len() == 1);
    assert_eq!(late(&db, "late"), 7);
    park(&db, "orders", 7, "failed");
    checkpoint(&db, "orders", 7);
    run.wait().success();
    assert_eq!(everywhere::of_files(&db).rows, 6);
    assert_eq!(db.one::<i64>("SELECT global_position FROM events"), 7);
    // A month leaves whole or not at all.
    let db = store("month", &[]);
    events(&db, "A", -2, 3);
    checkpoint(&db, "orders", 6);
    let record = format!("{}: detaching", crate::leaf(&db, "events", -2));
    let run = paused(&db, &[&db.month(-2), "--drop"], "execute::before_step", &record);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(late(&db, "late"), 7);
    park(&db, "orders", 7, "failed");
    checkpoint(&db, "orders", 7);
    let refused = run.wait().failure(1);
    assert!(refused.stderr.contains("1 event is among the dead letters"), "{refused}");
    assert_eq!(count(&db, "events"), 7);
}

#[test]
fn too_many_at_once_are_tried_again() {
    let db = store("context", &[]);
    events(&db, "A", -2, 3);
    checkpoint(&db, "orders", 6);
    let line = ["archive", "A", "--drop", "--yes"];
    let run = db.command(line).failpoints("archive::replaced=1*sleep(1500)").spawn();
    eventually("the next leaf is made", || everywhere::outside(&db).len() == 1);
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'A', 'Order', 'many', version, gen_random_uuid(), 'Placed', ''
         FROM generate_series(1, 2001) AS version",
    );
    checkpoint(&db, "orders", 2007);
    run.wait().success();
    assert_eq!(everywhere::of_files(&db).rows, 2007);
    assert_eq!(everywhere::outside(&db), Vec::<String>::new());
    verified(&db);
}
