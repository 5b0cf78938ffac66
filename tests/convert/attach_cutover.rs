//! The time from which the old table takes no events.

use crate::attach::{attach, attached, codes};
use crate::support::TestDatabase;
use crate::{
    Kind, append, assert_checked, assert_same, assert_sound, convert, phase, ready, rows, store,
};

/// The cutover of the conversion, in so many hours from now, also in the CHECK.
fn near(db: &TestDatabase, hours: i32) {
    db.execute(&format!(
        "UPDATE pupctl_conversions SET cutover = now() + interval '{hours} hours'"
    ));
}

fn cutover(db: &TestDatabase) -> String {
    db.one(
        "SELECT to_char(cutover AT TIME ZONE 'UTC', 'YYYY-MM-DD') FROM pupctl_conversions
        ORDER BY id DESC LIMIT 1",
    )
}

fn started() -> TestDatabase {
    let db = store(Kind::Pupctl);
    convert(&db, &attach("start", "month")).success();
    db
}

/// Whether an event of a month can be stored; tells the code of the refusal.
fn refusal(db: &TestDatabase, month: i32) -> Option<String> {
    let created_at = format!("{}-01T00:00:00Z", db.month(month));
    let append = crate::support::Append {
        context: "Billing",
        id: "future",
        head: None,
        events: 1,
        created_at: &created_at,
    };
    let error = append.run(&mut db.client()).err()?;
    Some(error.code().map(|code| code.code().to_owned()).unwrap_or_default())
}

#[test]
fn later_events_are_refused_until_the_swap() {
    let db = started();
    assert_eq!(cutover(&db), format!("{}-01", db.month(2)));
    assert_eq!(refusal(&db, 2).as_deref(), Some("23514"));
    assert_eq!(refusal(&db, 1), None);
    convert(&db, &["swap"]).success();
    assert_eq!(refusal(&db, 2), None);
    assert_sound(&db, "cutover");
}

#[test]
fn after_a_rollback_they_are_taken_again() {
    let db = started();
    convert(&db, &["rollback"]).success();
    assert_eq!(refusal(&db, 2), None);
    // The next cutover lies behind it.
    convert(&db, &attach("start", "month")).success();
    assert_eq!(cutover(&db), format!("{}-01", db.month(3)));
    assert_eq!(refusal(&db, 3).as_deref(), Some("23514"));
    convert(&db, &["swap"]).success();
    // A month that has no partition yet.
    assert_eq!(refusal(&db, 3).as_deref(), Some("23514"));
    db.pupctl(["partitions", "ensure", "--months", "4"]).success();
    assert_eq!(refusal(&db, 3), None);
    assert_sound(&db, "cutover");
    assert_checked(&db);
}

#[test]
fn a_client_with_a_clock_of_its_own_moves_it() {
    let db = store(Kind::Pupctl);
    append(&db, "Billing", "ahead", 1, 9);
    let before = rows(&db);
    let run = convert(&db, &attach("start", "month")).success();
    let month = db.month(10);
    assert_eq!(cutover(&db), format!("{month}-01"));
    assert!(run.stderr.contains(&month), "{run}");
    convert(&db, &["swap"]).success();
    assert_same(&before, &rows(&db), "ahead");
    convert(&db, &["finish"]).success();
    assert_checked(&db);
}

#[test]
fn a_near_one_is_not_swapped_but_chosen_anew() {
    let db = started();
    append(&db, "Billing", "o-1", 2, 0);
    let before = rows(&db);
    for hours in [-30, 0] {
        near(&db, hours);
        let run = convert(&db, &["swap"]).failure(1);
        assert!(run.stderr.contains("is near, or over"), "{run}");
        assert!(run.stderr.contains("pupctl convert resume"), "{run}");
        let status = convert(&db, &["status"]).success();
        assert!(status.stderr.contains("pupctl convert resume"), "{status}");
        let run = convert(&db, &["resume"]).success();
        assert!(run.stderr.contains("choosing a later one"), "{run}");
        assert_eq!(cutover(&db), format!("{}-01", db.month(2)));
        assert_eq!(phase(&db), "ready");
        assert_eq!(refusal(&db, 2).as_deref(), Some("23514"));
    }
    // The command that it was begun with does the same.
    near(&db, 0);
    let run = convert(&db, &attach("start", "month")).success();
    assert!(run.stderr.contains("choosing a later one"), "{run}");
    near(&db, 0);
    convert(&db, &attach("run", "month")).success();
    assert_same(&before, &rows(&db), "near");
    assert_eq!(refusal(&db, 2), None);
    convert(&db, &["finish"]).success();
    assert_checked(&db);
}

#[test]
fn one_that_moves_is_another_bound() {
    // As if it had been begun a month ago: the bound is that of the month that begins.
    let db = started();
    let month = db.month(1);
    db.execute(
        "DELETE FROM events WHERE created_at >= date_trunc('month', now(), 'UTC')
        + interval '1 month'",
    );
    db.execute(
        "UPDATE aggregate_heads AS head SET aggregate_version = (
        SELECT max(aggregate_version) FROM events AS event
        WHERE (event.bounded_context, event.aggregate_id)
            = (head.bounded_context, head.aggregate_id))",
    );
    db.execute(&format!(
        "ALTER TABLE events DROP CONSTRAINT pupctl_bounds;
         ALTER TABLE events ADD CONSTRAINT pupctl_bounds
            CHECK (created_at < '{month}-01 00:00:00+00');"
    ));
    near(&db, 0);
    assert_eq!(refusal(&db, 1).as_deref(), Some("23514"));
    convert(&db, &["resume"]).success();
    // It is as far ahead as a new one, which 7 days say.
    assert_eq!(refusal(&db, 3).as_deref(), Some("23514"));
    convert(&db, &["swap"]).success();
    for month in [0, 1, 2, 3] {
        if month < 3 {
            assert_eq!(refusal(&db, month), None);
        }
    }
    assert_sound(&db, "moved");
    convert(&db, &["finish"]).success();
    assert_checked(&db);
}

#[test]
fn checks_warn_when_it_comes_near() {
    let db = started();
    assert_eq!(codes(&db), ["notice conversion"]);
    let month = db.month(2);
    near(&db, 80);
    assert_eq!(codes(&db), ["notice conversion"]);
    near(&db, 70);
    assert_eq!(codes(&db), ["warning conversion"]);
    db.execute(&format!("UPDATE pupctl_conversions SET cutover = '{month}-01T00:00:00Z'"));
    convert(&db, &["swap"]).success();
    assert!(codes(&db).contains(&"notice conversion".to_owned()), "{:?}", codes(&db));
    // Only the strategy that keeps the old table has one.
    assert_eq!(codes(&ready(Kind::Pupctl, "month")), ["notice conversion"]);
}

#[test]
fn an_event_that_came_before_the_check_is_told() {
    let db = store(Kind::Pupctl);
    let words =
        crate::line(&attach("start", "month")).into_iter().map(str::to_owned).collect::<Vec<_>>();
    db.command(&words).failpoints("convert::built=return").run().killed();
    append(&db, "Billing", "ahead", 1, 4);
    let before = rows(&db);
    let run = convert(&db, &["resume"]).failure(1);
    assert!(run.stderr.contains("rows that lie outside"), "{run}");
    assert!(run.stderr.contains("pupctl convert rollback"), "{run}");
    convert(&db, &["rollback"]).success();
    convert(&db, &attach("run", "month")).success();
    assert_eq!(cutover(&db), format!("{}-01", db.month(5)));
    assert_same(&before, &rows(&db), "ahead");
    assert_checked(&db);
}

#[test]
fn months_begin_with_the_cutover() {
    let db = attached(Kind::Pupctl, "month");
    let leaves = db.leaves("public.events");
    let month = |ahead: i32| format!("public.events_{}", db.month(ahead).replace('-', "_"));
    assert_eq!(leaves, [month(2), "public.events_history".to_owned()]);
    db.pupctl(["partitions", "ensure", "--months", "4"]).success();
    let mut wanted = vec![month(2), month(3), month(4), "public.events_history".to_owned()];
    wanted.sort();
    assert_eq!(db.leaves("public.events"), wanted);
    assert_checked(&db);
}
