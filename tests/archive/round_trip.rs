//! Out and in again on every layout, in both formats: as if nothing had been.

use crate::support::{Append, TestDatabase};
use crate::{archive, count, events, everywhere, leaf, restore, store, verified};

const LAYOUTS: [&str; 6] =
    ["context", "hash", "month", "context,hash", "context,month", "hash,month"];

/// A word for a part of the store: a month, a context, or one share.
fn part(db: &TestDatabase, layout: &str) -> String {
    if layout.contains("month") {
        return db.month(-2);
    }
    if layout.contains("context") {
        return "a".to_owned();
    }
    db.leaves("public.events")[0].replace("public.", "")
}

fn round_trip(layout: &str, format: &str) {
    let db = store(layout, &["--immutable", "--event-ids"]);
    for ahead in [-2, -1] {
        events(&db, "A", ahead, 5);
        events(&db, "B", ahead, 5);
    }
    let part = part(&db, layout);
    let before = (everywhere::of_store(&db), everywhere::dump(&db));
    archive(&db, &[&part, "--drop", "--format", format]).success();
    let gone = everywhere::of_files(&db);
    assert!(gone.rows > 0 && gone.rows < before.0.rows, "{gone:?}");
    assert_eq!(everywhere::all(&db), before.0);
    assert_eq!(everywhere::outside(&db), Vec::<String>::new());
    db.pupctl(["schema", "verify", "--exit-code"]).success();
    refuses_what_is_archived(&db, layout);

    restore(&db, &[&part]).success();
    assert_eq!(everywhere::of_store(&db), before.0);
    assert_eq!(everywhere::outside(&db), Vec::<String>::new());
    verified(&db);
    if layout.contains("month") {
        assert_eq!(everywhere::difference(&before.1, &everywhere::dump(&db)), "");
    }
    goes_on(&db);
    let nothing = restore(&db, &[&part]).success();
    assert!(nothing.stderr.contains("Nothing to do"), "{nothing}");
}

/// The head is still there, and so is the guard.
fn refuses_what_is_archived(db: &TestDatabase, layout: &str) {
    if !layout.contains("month") {
        return;
    }
    let id = format!("{} 1", db.month(-2));
    let created_at = format!("{}-05T00:00:00Z", db.month(0));
    let doubled =
        Append { context: "A", id: &id, head: Some(1), events: 1, created_at: &created_at };
    let error = doubled.run(&mut db.client()).expect_err("a version that is archived");
    assert_eq!(error.code().map(postgres::error::SqlState::code), Some("23505"), "{error:?}");
}

/// The next version is stored, one that is there is refused, and nothing is changed.
fn goes_on(db: &TestDatabase) {
    let mut client = db.client();
    for context in ["A", "B"] {
        for number in 1..=5 {
            let id = format!("{} {number}", db.month(-2));
            let created_at = format!("{}-05T00:00:00Z", db.month(0));
            let append =
                |head| Append { context, id: &id, head, events: 1, created_at: &created_at };
            for there in [0, 1] {
                let error =
                    append(Some(there)).run(&mut client).expect_err("a version that is there");
                assert_eq!(
                    error.code().map(postgres::error::SqlState::code),
                    Some("23505"),
                    "{error:?}"
                );
            }
            append(None).run(&mut client).expect("the next version");
        }
    }
    let versions = "SELECT DISTINCT aggregate_version FROM aggregate_heads WHERE aggregate_id LIKE";
    assert_eq!(db.one::<i64>(&format!("{versions} '{}%'", db.month(-2))), 3);
    let error = client.batch_execute("UPDATE events SET payload = ''").expect_err("immutable");
    assert!(error.code().is_some(), "{error:?}");
}

#[test]
fn in_parquet_on_every_layout() {
    for layout in LAYOUTS {
        round_trip(layout, "parquet");
    }
}

#[test]
fn in_copy_on_every_layout() {
    for layout in LAYOUTS {
        round_trip(layout, "copy");
    }
}

#[test]
fn without_a_guard() {
    let db = store("month", &["--guard", "none", "--allow-duplicate-versions"]);
    events(&db, "A", -2, 3);
    let before = (everywhere::of_store(&db), everywhere::dump(&db));
    let month = db.month(-2);
    archive(&db, &[&month, "--drop"]).success();
    restore(&db, &[&month]).success();
    assert_eq!(everywhere::of_store(&db), before.0);
    assert_eq!(everywhere::difference(&before.1, &everywhere::dump(&db)), "");
}

#[test]
fn a_context_that_goes_on_meanwhile_has_all_in_one_leaf_again() {
    let db = store("context", &["--immutable", "--event-ids"]);
    events(&db, "A", 0, 4);
    archive(&db, &["A", "--drop"]).success();
    assert_eq!(count(&db, "events"), 0);
    let created_at = format!("{}-05T00:00:00Z", db.month(0));
    let id = format!("{} 1", db.month(0));
    let append = Append { context: "A", id: &id, head: None, events: 2, created_at: &created_at };
    let positions = append.run(&mut db.client()).expect("the head says where to go on");
    assert_eq!(positions, [9, 10]);
    // A second archive of the same leaf, then both come back.
    archive(&db, &["A", "--drop", "--allow-split-streams"]).success();
    append.run(&mut db.client()).expect("and again");
    let restored = restore(&db, &["A", "-o", "json"]).success();
    let restored = restored.json();
    let hows: Vec<_> =
        restored["restored"].as_array().expect("a list").iter().map(|one| &one["how"]).collect();
    assert_eq!(hows, ["joined", "joined"], "{restored}");
    let versions = "SELECT string_agg(aggregate_version::text, ',' ORDER BY global_position)
        FROM events WHERE aggregate_id LIKE '% 1'";
    assert_eq!(db.one::<String>(versions), "1,2,3,4,5,6");
    assert_eq!(db.leaves("public.events"), ["public.events_a", "public.events_b"]);
    verified(&db);
    goes_on_after_join(&db, &id);
}

fn goes_on_after_join(db: &TestDatabase, id: &str) {
    let created_at = format!("{}-05T00:00:00Z", db.month(0));
    let append = |head| Append { context: "A", id, head, events: 1, created_at: &created_at };
    append(Some(3)).run(&mut db.client()).expect_err("a version that came back");
    append(None).run(&mut db.client()).expect("the next version");
}

#[test]
fn a_kept_table_comes_back_as_it_is() {
    for layout in ["month", "context"] {
        let db = store(layout, &["--event-ids"]);
        events(&db, "A", -2, 3);
        let before = everywhere::of_store(&db);
        let part = part(&db, layout);
        archive(&db, &[&part]).success();
        assert_eq!(count(&db, "events"), 0);
        assert_eq!(everywhere::outside(&db).len(), 1);
        let verify = db.pupctl(["schema", "verify", "--exit-code"]);
        assert!([Some(0), Some(3)].contains(&verify.code), "{verify}");
        restore(&db, &[&part]).success();
        assert_eq!(everywhere::of_store(&db), before);
        assert_eq!(everywhere::outside(&db), Vec::<String>::new());
        verified(&db);
    }
}

#[test]
fn a_table_that_is_not_attached_is_attached_later_if_nobody_changed_it() {
    let db = store("month", &[]);
    events(&db, "A", -2, 3);
    let before = (everywhere::of_store(&db), everywhere::dump(&db));
    let month = db.month(-2);
    archive(&db, &[&month, "--drop"]).success();
    restore(&db, &[&month, "--no-attach"]).success();
    let table = leaf(&db, "public.events", -2);
    assert_eq!(everywhere::outside(&db), std::slice::from_ref(&table));
    assert_eq!(everywhere::of_table(&db, &table), before.0);
    // Looked at, and changed: that is not what was archived.
    db.execute(&format!("UPDATE {table} SET payload = 'other' WHERE global_position = 1"));
    let refused = restore(&db, &[&month]).failure(1);
    assert!(refused.stderr.contains("does not hold what"), "{refused}");
    assert_eq!(count(&db, "events"), 0);
    db.execute(&format!("DROP TABLE {table}"));
    restore(&db, &[&month, "--no-attach"]).success();
    restore(&db, &[&month, "--no-attach"]).success();
    restore(&db, &[&month]).success();
    assert_eq!(everywhere::of_store(&db), before.0);
    assert_eq!(everywhere::difference(&before.1, &everywhere::dump(&db)), "");
}

#[test]
fn archives_that_were_moved_are_named() {
    let db = store("month", &[]);
    events(&db, "A", -2, 3);
    let before = everywhere::of_store(&db);
    let month = db.month(-2);
    archive(&db, &[&month, "--drop"]).success();
    let (here, there) = (db.folder().join("archives"), db.folder().join("cold store"));
    std::fs::rename(&here, &there).expect("a move");
    let refused = restore(&db, &[&month]).failure(1);
    assert!(!refused.stderr.contains("os error 2\n\n"), "{refused}");
    restore(&db, &[&month, "--from", "cold store"]).success();
    assert_eq!(everywhere::of_store(&db), before);
}

#[test]
fn a_folder_goes_into_a_store_that_does_not_know_it() {
    let from = store("month", &[]);
    events(&from, "A", -2, 3);
    archive(&from, &[&from.month(-2), "--copy-only"]).success();
    let other = store("month", &[]);
    other.execute(&format!("DROP TABLE {}", leaf(&other, "events", -2)));
    let folder = from.folder().join("archives").join(leaf(&from, "events", -2));
    let folder = folder.to_str().expect("a path");
    restore(&other, &[folder]).success();
    assert_eq!(everywhere::of_store(&other), everywhere::of_store(&from));
    // The heads of its aggregates are there too, and the positions behind it.
    let heads = "SELECT string_agg(aggregate_id || aggregate_version, ',' ORDER BY aggregate_id)
        FROM public.aggregate_heads";
    assert_eq!(other.texts(heads), from.texts(heads));
    verified(&other);
    events(&other, "B", -1, 1);
    assert!(
        other.one::<i64>("SELECT min(global_position) FROM events WHERE bounded_context = 'B'") > 6
    );
}
