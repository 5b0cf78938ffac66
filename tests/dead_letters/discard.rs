//! What is forgotten.

use crate::{append, handled, letters, parked, state, states, work};

#[test]
fn all_are_forgotten_after_a_question() {
    let db = parked(4);
    let before = state(&db);
    let asked = letters(&db, &["discard", "orders", "--all"]).failure(2);
    assert!(asked.stderr.contains("5 dead letters of orders are forgotten, and never handled"));
    assert_eq!(state(&db), before);
    let done = letters(&db, &["discard", "orders", "--all", "--yes"]).success();
    assert!(done.stderr.contains("Done: 5 dead letters of orders forgotten"), "{done}");
    assert_eq!(states(&db), Vec::<String>::new());
    let again = letters(&db, &["discard", "orders", "--all", "--yes"]).success();
    assert!(again.stderr.contains("Nothing to do: no dead letter of orders"), "{again}");
    // The aggregates go on without them.
    append(&db, "0");
    work(&db, "orders", 4);
    assert_eq!(handled(&db, "0"), ["1", "13"]);
    assert_eq!(states(&db), Vec::<String>::new());
}

#[test]
fn what_waits_behind_one_that_is_forgotten_stays_and_can_be_replayed() {
    let db = parked(1);
    let json = letters(&db, &["discard", "orders", "--position", "4", "--yes", "-o", "json"]);
    let json = json.success().json();
    assert_eq!((&json["letters"], &json["changed"]), (&1.into(), &true.into()), "{json}");
    let words = "2 later events stay among the dead letters, and whatever comes of Sales/Order/0 \
        waits with them: pupctl projections dead-letters replay orders --aggregate Sales/Order/0";
    assert_eq!(json["notes"][0], words, "{json}");
    assert_eq!(states(&db), ["7 waiting", "8 failed", "10 waiting", "11 waiting"]);
    append(&db, "0");
    work(&db, "orders", 1);
    assert_eq!(states(&db), ["7 waiting", "8 failed", "10 waiting", "11 waiting", "13 waiting"]);
    letters(&db, &["replay", "orders", "--aggregate", "Sales/Order/0"]).success();
    work(&db, "orders", 1);
    assert_eq!(states(&db), ["8 failed", "11 waiting"]);
    assert_eq!(handled(&db, "0"), ["1", "7", "10", "13"]);
}

#[test]
fn nothing_is_said_where_nothing_is_left_alone() {
    let db = parked(1);
    // One that waits may go, as the one that failed before it stays.
    let done = letters(&db, &["discard", "orders", "--position", "7", "--yes"]).success();
    assert!(!done.stderr.contains("note:"), "{done}");
    let done = letters(&db, &["discard", "orders", "--aggregate", "Sales/Order/0", "--yes"]);
    assert!(!done.success().stderr.contains("note:"));
    assert_eq!(states(&db), ["8 failed", "11 waiting"]);
}

#[test]
fn letters_that_outlived_their_projection_can_be_forgotten() {
    let db = parked(2);
    db.execute("DELETE FROM projection_checkpoints");
    letters(&db, &["replay", "orders", "--all"]).failure(1);
    letters(&db, &["list", "orders"]).success();
    let dry = letters(&db, &["discard", "orders", "--all", "--dry-run"]).success();
    assert!(dry.stdout.contains("LOCK TABLE"), "{dry}");
    letters(&db, &["discard", "orders", "--all", "--yes"]).success();
    assert_eq!(states(&db), Vec::<String>::new());
}
