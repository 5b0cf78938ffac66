//! The way back, before the swap and after it, and where it ends.

use crate::support::TestDatabase;
use crate::{
    Kind, LAYOUTS, append, assert_checked, assert_nothing_left, assert_same, assert_same_text,
    assert_sound, convert, phase, rows, state, store, swapped, to,
};

#[test]
fn after_the_swap_the_old_tables_come_back_as_they_were() {
    for layout in LAYOUTS {
        let db = store(Kind::Pupctl);
        let before = state(&db);
        convert(&db, &to("run", layout)).success();
        convert(&db, &["rollback"]).success();
        assert_same_text(&before, &state(&db), layout);
        assert_nothing_left(&db, layout);
        assert_checked(&db);
        let again = db.pupctl(["schema", "init"]).success();
        assert!(again.stderr.contains("Nothing to do"), "{layout} {again}");
    }
}

#[test]
fn what_was_appended_since_comes_along() {
    // Whose tables they were makes no difference to what a layout brings back.
    for (layout, kind) in LAYOUTS.into_iter().zip([Kind::Pupctl, Kind::Pupsourcing].repeat(3)) {
        let db = swapped(kind, layout);
        append(&db, "Billing", "o-1", 3, 0);
        append(&db, "Identity", "new one", 2, 1);
        append(&db, "Identity", "new one", 2, 0);
        let before = rows(&db);
        let run = convert(&db, &["rollback"]).success();
        assert_same(&before, &rows(&db), &format!("{layout} {run}"));
        assert_sound(&db, layout);
        assert_nothing_left(&db, layout);
        // Positions go on, and so do writers.
        append(&db, "Identity", "new one", 1, 0);
        // And forth again.
        let before = rows(&db);
        convert(&db, &to("run", layout)).success();
        convert(&db, &["finish"]).success();
        assert_same(&before, &rows(&db), layout);
        assert_sound(&db, layout);
        assert_checked(&db);
    }
}

/// Neither way goes on where old and new differ; nothing is lost.
#[track_caller]
fn refused(db: &TestDatabase, verb: &str, words: &str) {
    let before = rows(db);
    let run = convert(db, &[verb]).failure(1);
    assert!(run.stderr.contains("have been changed, archived or removed since"), "{run}");
    assert!(run.stderr.contains(words), "{run}");
    assert_same(&before, &rows(db), verb);
    assert_eq!(phase(db), "swapped", "{run}");
    let old = db.one::<i64>("SELECT count(*) FROM events_before_convert");
    assert_eq!(old, 3360, "{run}");
    // Writers go on meanwhile.
    append(db, "Billing", "o-3", 1, 0);
}

#[test]
fn an_event_that_was_changed_since_is_not_lost_by_either_way() {
    for change in [
        "UPDATE events SET payload = 'other' WHERE aggregate_id = 'o-7' AND aggregate_version = 3
            AND bounded_context = 'Billing'",
        "UPDATE events SET metadata = NULL WHERE aggregate_id = 'o-8' AND aggregate_version = 3
            AND bounded_context = 'Billing'",
        "DELETE FROM events WHERE aggregate_id = 'o-9' AND aggregate_version = 4
            AND bounded_context = 'Billing'",
    ] {
        let db = swapped(Kind::Pupctl, "context");
        db.execute(change);
        refused(&db, "rollback", "Billing, ");
        refused(&db, "finish", "Billing, ");
    }
}

#[test]
fn after_the_end_there_is_no_way_back() {
    let db = swapped(Kind::Pupctl, "hash");
    convert(&db, &["finish"]).success();
    let before = rows(&db);
    let run = convert(&db, &["rollback"]).success();
    assert!(run.stderr.contains("the last conversion is finished"), "{run}");
    assert_same(&before, &rows(&db), "rollback");
    let run = convert(&db, &["swap"]).failure(1);
    assert!(run.stderr.contains("no conversion goes on"), "{run}");
}

#[test]
fn the_old_table_takes_no_writes_after_the_swap() {
    let db = swapped(Kind::Pupctl, "context");
    for (table, statement) in [
        ("events", "DELETE FROM events_before_convert"),
        ("events", "TRUNCATE events_before_convert"),
        ("events", "UPDATE events_before_convert SET payload = ''"),
        ("aggregate_heads", "UPDATE aggregate_heads_before_convert SET aggregate_version = 9"),
        ("aggregate_heads", "INSERT INTO aggregate_heads_before_convert VALUES ('A', 'B', 'C', 1)"),
    ] {
        let error = db.client().batch_execute(statement).expect_err("refused");
        let error = error.as_db_error().expect("an answer");
        assert_eq!(error.code().code(), "55000", "{error:?}");
        let words = format!("was replaced by public.{table}");
        assert!(error.message().contains(&words), "{error:?}");
    }
}
