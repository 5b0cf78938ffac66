//! What is listed.

use crate::support::TestDatabase;
use crate::{letters, parked, store};

#[test]
fn letters_are_listed_with_all_that_is_known_of_them() {
    let db = parked(1);
    let list = letters(&db, &["list"]).success();
    let rows: Vec<_> = list.stdout.lines().collect();
    assert_eq!(rows.len(), 2 + 5, "{list}");
    for words in [
        "| Sales/Order/0 | OrderPlaced | failed ",
        "| Sales/Order/1 | OrderPlaced | waiting ",
        " position 4 is poison…",
        " UTC ",
    ] {
        assert!(list.stdout.contains(words), "{words}: {list}");
    }
    let json = letters(&db, &["list", "orders", "-o", "json"]).success().json();
    assert_eq!((&json["total"], &json["version"]), (&5.into(), &1.into()), "{json}");
    let letter = json["letters"][0].as_object().expect("a letter");
    let keys: Vec<_> = letter.keys().map(String::as_str).collect();
    assert_eq!(
        keys.join(" "),
        "projection position bounded_context aggregate_type aggregate_id aggregate_version \
         event_id event_type state error attempts parked_at failed_at replay_at"
    );
    assert_eq!(letter["error"], "position 4 is poison\nand more of it");
    assert_eq!((&letter["attempts"], &letter["aggregate_version"]), (&1.into(), &2.into()));
    assert!(letter["replay_at"].is_null());
}

#[test]
fn some_of_them_are_listed() {
    let db = parked(2);
    let list = letters(&db, &["list", "--limit", "2"]).success();
    assert_eq!(list.stdout.lines().count(), 2 + 2, "{list}");
    assert!(list.stderr.contains("2 of 5 dead letters; more with --limit"), "{list}");
    let of = ["list", "orders", "--aggregate", "Sales/Order/1", "-o", "json"];
    let json = letters(&db, &of).success().json();
    let positions: Vec<_> =
        json["letters"].as_array().expect("a list").iter().map(|one| &one["position"]).collect();
    assert_eq!(positions, [8, 11]);
    let none = letters(&db, &["list", "--aggregate", "Sales/Order/2"]).success();
    assert!(none.stderr.contains("No dead letters") && none.stdout.is_empty(), "{none}");
    letters(&db, &["replay", "orders", "--aggregate", "Sales/Order/1"]).success();
    let list = letters(&db, &["list"]).success();
    assert_eq!(list.stdout.matches("failed, to be replayed").count(), 1, "{list}");
}

#[test]
fn a_name_that_nobody_has_is_told_with_those_that_are_there() {
    let db = parked(1);
    for command in [
        &["list", "order"][..],
        &["replay", "order", "--all"],
        &["discard", "order", "--all", "--yes"],
    ] {
        let refused = letters(&db, command).failure(1);
        assert!(refused.stderr.contains("there is no projection order\n"), "{refused}");
        assert!(refused.stderr.contains("there are orders"), "{refused}");
    }
    db.execute("INSERT INTO projection_checkpoints VALUES ('go_p0', 3)");
    let refused = letters(&db, &["replay", "go", "--all"]).failure(1);
    assert!(refused.stderr.contains("go_p0"), "{refused}");
    letters(&db, &["replay", "orders"]).failure(2);
    for verb in ["list", "replay", "discard"] {
        for part in ["17", "Order/17", "Sales//17"] {
            let refused = letters(&db, &[verb, "orders", "--aggregate", part]).failure(2);
            assert!(refused.stderr.contains("CONTEXT/TYPE/ID"), "{refused}");
        }
    }
    letters(&db, &["replay", "orders", "--all", "--position", "3"]).failure(2);
    letters(&db, &["replay", "orders", "--position", "0"]).failure(2);
    let refused = letters(&db, &["replay", "orders", "--all", "--timeout", "3s"]).failure(2);
    assert!(refused.stderr.contains("--wait"), "{refused}");
}

#[test]
fn a_store_of_an_earlier_version_has_none() {
    let db = store();
    let drop: Vec<_> = db.texts(
        "SELECT 'DROP COLUMN ' || attname FROM pg_attribute
             WHERE attrelid = 'public.projection_checkpoints'::regclass AND attnum > 3",
    );
    older(&db, &drop);
    let before = db.dump();
    let list = letters(&db, &["list"]).success();
    assert!(list.stderr.contains("No dead letters"), "{list}");
    db.execute("INSERT INTO projection_checkpoints VALUES ('orders', 3)");
    letters(&db, &["list", "orders"]).success();
    for command in [&["replay", "orders", "--all"][..], &["discard", "orders", "--all", "--yes"]] {
        let refused = letters(&db, command).failure(1);
        assert!(refused.stderr.contains("pupctl projections init"), "{refused}");
    }
    assert_eq!(db.dump(), before);
}

fn older(db: &TestDatabase, drop: &[String]) {
    db.execute(&format!(
        "ALTER TABLE projection_checkpoints {}; DROP TABLE projection_dead_letters;
         DELETE FROM pupctl_history WHERE version >= 4",
        drop.join(", ")
    ));
}
