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
