//! Contexts and months that come while the events are copied, or in the last moment.

use crate::support::TestDatabase;
use crate::{
    Kind, append, assert_checked, assert_nothing_left, assert_same, assert_sound, convert, line,
    phase, ready, rows, store, to,
};

/// What nobody has thought of: a context with an odd name, months before and after all others.
fn surprise(db: &TestDatabase, number: i32) {
    append(db, &format!("Late \"{number}'"), "o-1", 2, 0);
    append(db, "Billing", &format!("late {number}"), 3, -20 - number);
    append(db, "Identity", &format!("late {number}"), 3, 6 + number);
}

/// Puts the new tables in place and ends well.
#[track_caller]
fn ends_well(db: &TestDatabase, layout: &str) {
    let before = rows(db);
    let run = convert(db, &["swap"]).success();
    assert_same(&before, &rows(db), &format!("{layout} {run}"));
    assert_sound(db, layout);
    assert_checked(db);
    convert(db, &["rollback"]).success();
    assert_same(&before, &rows(db), layout);
    assert_nothing_left(db, layout);
    convert(db, &to("run", layout)).success();
    convert(db, &["finish"]).success();
    assert_same(&before, &rows(db), layout);
    assert_checked(db);
}

#[test]
fn after_the_comparison() {
    for layout in ["context", "month", "context,hash", "context,month"] {
        let db = ready(Kind::Pupctl, layout);
        surprise(&db, 1);
        ends_well(&db, layout);
    }
}

/// Something happens at a point of a run.
fn at(db: &TestDatabase, words: &[&str], point: &str, work: impl FnOnce()) {
    let mut run = db.command(line(words)).hold_at(point).spawn();
    run.reached();
    work();
    run.wait().success();
}

#[test]
fn while_events_are_copied() {
    for layout in ["context", "context,month"] {
        let db = store(Kind::Pupctl);
        let words = to("start", layout);
        at(&db, &words, "convert::before_range", || surprise(&db, 1));
        ends_well(&db, layout);
    }
}

#[test]
fn while_keys_are_built() {
    let db = store(Kind::Pupctl);
    at(&db, &to("start", "context,month"), "convert::joined", || surprise(&db, 1));
    ends_well(&db, "context,month");
}

#[test]
fn in_the_tail_of_the_swap() {
    // The last round is over, the tables are not locked yet; or they are about to be.
    let points = ["convert::caught_up", "convert::before_locks"];
    let layouts = ["context", "month", "context,month"];
    for (layout, point) in layouts.into_iter().zip(points.into_iter().cycle()) {
        let db = ready(Kind::Pupctl, layout);
        append(&db, "Billing", "o-1", 1, 0);
        at(&db, &["swap"], point, || surprise(&db, 2));
        assert_sound(&db, layout);
        assert_checked(&db);
        let before = rows(&db);
        convert(&db, &["rollback"]).success();
        assert_same(&before, &rows(&db), layout);
        assert_nothing_left(&db, layout);
    }
}

#[test]
fn contexts_that_are_named_are_all_that_there_are() {
    let db = store(Kind::Pupctl);
    let mut words = to("start", "context");
    words.extend(["--contexts", "Billing"]);
    let run = convert(&db, &words).failure(1);
    assert!(run.stderr.contains("events of 2 contexts that are not named"), "{run}");
    assert!(run.stderr.contains("Identity"), "{run}");
    assert_eq!(phase(&db), "none");
}
