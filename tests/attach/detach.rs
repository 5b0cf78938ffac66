//! What leaves, and how.

use crate::support::TestDatabase;
use crate::{attach, detach, events, leaf, rows, store, verified};

/// What the leaf of the month is called in a layout, and how its place is written.
fn target(db: &TestDatabase, layout: &str) -> (String, String) {
    let month = db.month(-3);
    match layout {
        "context" => ("events_a".to_owned(), "A".to_owned()),
        "hash" => ("events_hash_03".to_owned(), "hash 3 of 16".to_owned()),
        "month" => (leaf(db, "events", -3), month),
        "context,hash" => ("events_a_hash_03".to_owned(), "A/hash 3 of 16".to_owned()),
        "context,month" => (leaf(db, "events_a", -3), format!("A/{month}")),
        "hash,month" => (leaf(db, "events_hash_03", -3), format!("hash 3 of 16/{month}")),
        _ => unreachable!("{layout}"),
    }
}

const LAYOUTS: [&str; 6] =
    ["context", "hash", "month", "context,hash", "context,month", "hash,month"];

#[test]
fn a_leaf_of_every_layout_goes_and_comes_back_as_it_was() {
    for layout in LAYOUTS {
        for how in [&[][..], &["--at-once"]] {
            let db = store(layout);
            events(&db, "A", -3, 100);
            events(&db, "B", -2, 10);
            let (name, place) = target(&db, layout);
            let (before, dump) = (rows(&db, "events"), db.dump());
            let left = rows(&db, &name);
            assert!(!left.is_empty(), "{layout}");
            let done = detach(&db, &[&[place.as_str(), "--yes"], how].concat()).success();
            assert!(done.stderr.contains("Done: 1 partition detached"), "{done}");
            assert_eq!(rows(&db, &name), left, "{layout}");
            assert_eq!(rows(&db, "events").len(), before.len() - left.len(), "{layout}");
            let valid: i64 = db.one(&format!(
                "SELECT count(*) FROM pg_constraint
                 WHERE conrelid = '{name}'::regclass AND contype = 'c' AND convalidated"
            ));
            // One of a hash would name the parent by its number.
            let expected = i64::from(!layout.contains("hash"));
            assert!(valid >= expected, "a CHECK of its bounds stays: {layout} {how:?}");
            db.pupctl(["partitions", "list"]).success();

            let again = detach(&db, &[&[place.as_str(), "--yes"], how].concat()).success();
            assert!(again.stderr.contains("Nothing to do"), "{again}");
            let done = attach(&db, &[&name]).success();
            assert!(done.stderr.contains("Done:"), "{done}");
            assert_eq!(rows(&db, "events"), before, "{layout}");
            assert_eq!(db.dump(), dump, "{layout} {how:?}");
            verified(&db);
            let again = attach(&db, &[&name]).success();
            assert!(again.stderr.contains("Nothing to do"), "{again}");
        }
    }
}

#[test]
fn a_month_goes_from_every_context_and_a_context_with_all_its_months() {
    let db = store("context,month");
    events(&db, "A", -3, 5);
    events(&db, "B", -3, 5);
    events(&db, "B", -2, 5);
    let month = db.month(-3);
    let done = detach(&db, &[&month]).success();
    assert!(done.stderr.contains("2 partitions detached"), "{done}");
    assert_eq!(rows(&db, "events").len(), 5);
    // The rest of the month is found when one is attached again.
    attach(&db, &[&leaf(&db, "events_a", -3)]).success();
    let done = detach(&db, &[&month]).success();
    assert!(done.stderr.contains("1 partition detached"), "{done}");
    let asked = detach(&db, &["B"]).failure(2);
    let words = "Events of B/";
    assert!(asked.stderr.contains(words) && asked.stderr.contains("--yes"), "{asked}");
    detach(&db, &["B", "--yes"]).success();
    assert_eq!(rows(&db, "events").len(), 0);
    let again = detach(&db, &["B", "--yes"]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    // What nobody knows is no partition that was detached.
    let unknown = detach(&db, &["C"]).failure(2);
    assert!(unknown.stderr.contains("no context, partition or month C"), "{unknown}");
}

#[test]
fn what_writers_need_is_asked_for() {
    let db = store("month");
    for ahead in [0, 1] {
        let asked = detach(&db, &[&db.month(ahead)]).failure(2);
        assert!(asked.stderr.contains("are refused from then on"), "{asked}");
    }
    let db = store("context");
    let asked = detach(&db, &["A"]).failure(2);
    assert!(asked.stderr.contains("pupctl archive"), "{asked}");
    detach(&db, &["A", "--yes"]).success();
    let check = db.pupctl(["partitions", "check", "--exit-code"]).failure(3);
    assert!(check.stdout.contains("pupctl partitions attach public.events_a"), "{check}");
}

#[test]
fn check_and_ensure_leave_a_detached_month_alone() {
    let db = store("month");
    let name = leaf(&db, "events", -3);
    detach(&db, &[&name]).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
    verified(&db);
    let done = db.pupctl(["partitions", "ensure"]).success();
    assert!(done.stderr.contains("Nothing to do"), "{done}");
    let list = db.pupctl(["partitions", "list"]).success();
    assert!(!list.stdout.contains(&name), "{list}");
    // One of a month to come is not made again in silence.
    let name = leaf(&db, "events", 1);
    detach(&db, &[&name, "--yes"]).success();
    let noted = db.pupctl(["partitions", "ensure"]).success();
    assert!(noted.stderr.contains(&format!("{} is left out", db.month(1))), "{noted}");
    let check = db.pupctl(["partitions", "check", "--exit-code"]).failure(3);
    assert!(check.stdout.contains(&format!("pupctl partitions attach public.{name}")), "{check}");
}

#[test]
fn rows_that_others_reference_stay() {
    let db = store("context");
    events(&db, "A", 0, 3);
    db.execute(
        "CREATE TABLE \"the bills\" (context text, kind text, id text, version bigint,
            FOREIGN KEY (context, kind, id, version) REFERENCES events);
         INSERT INTO \"the bills\" SELECT bounded_context, aggregate_type, aggregate_id,
            aggregate_version FROM events LIMIT 1",
    );
    for how in [&[][..], &["--at-once"]] {
        let refused = detach(&db, &[&["A", "--yes"], how].concat()).failure(1);
        assert!(refused.stderr.contains("public.the bills by its foreign key"), "{refused}");
    }
    detach(&db, &["B", "--yes"]).success();
    db.execute("DELETE FROM \"the bills\"");
    detach(&db, &["A", "--yes"]).success();
}

#[test]
fn projections_that_are_behind_and_publications_are_told() {
    let db = store("month");
    events(&db, "A", -3, 9);
    let name = leaf(&db, "events", -3);
    db.execute(&format!(
        "INSERT INTO projection_checkpoints (projection_name, last_global_position)
            VALUES ('slow', 3), ('done', 9);
         CREATE PUBLICATION \"the feed\" FOR TABLE {name}"
    ));
    let told = detach(&db, &[&name]).success();
    assert!(told.stderr.contains("slow (at 3)"), "{told}");
    assert!(!told.stderr.contains("done (at 9)"), "{told}");
    assert!(told.stderr.contains("stays in the publication the feed"), "{told}");
}

#[test]
fn a_detach_that_somebody_left_pending_is_finished_first() {
    let db = store("month");
    events(&db, "A", -3, 9);
    let [pending, other] = [-3, -4].map(|ahead| leaf(&db, "events", ahead));
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT count(*) FROM events").expect("a reader");
    let mut detacher = db.client();
    detacher.batch_execute("SET lock_timeout = '50ms'").expect("a setting");
    let sql = format!("ALTER TABLE events DETACH PARTITION {pending} CONCURRENTLY");
    detacher.batch_execute(&sql).expect_err("its second phase waits for the reader");
    reader.batch_execute("COMMIT").expect("a commit");

    let done = detach(&db, &[&other]).success();
    assert!(done.stderr.contains(&format!("the detach of public.{pending}")), "{done}");
    assert!(done.stderr.contains("1 partition detached, 1 pending detach finished"), "{done}");
    let again = detach(&db, &[&pending]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    attach(&db, &[&pending]).success();
    attach(&db, &[&other]).success();
    assert_eq!(rows(&db, "events").len(), 9);
    verified(&db);
}
