//! Killed at every point: the same command goes on, and the way back is open.

use crate::attach::{attach, one_context};
use crate::killed::Scenario;
use crate::support::TestDatabase;
use crate::{Kind, append, convert, phase, small, state};

fn small_of(layout: &str) -> TestDatabase {
    if layout == "month" {
        return small(Kind::Pupctl);
    }
    let db = one_context(Kind::Pupctl);
    db.execute(
        "DELETE FROM events WHERE aggregate_id > 'o-2';
         DELETE FROM aggregate_heads WHERE aggregate_id > 'o-2'",
    );
    db
}

/// Some events that came when all was ready, or swapped already.
fn more(db: &TestDatabase, beyond: i32) {
    append(db, crate::attach::QUOTED, "o-1", 2, 0);
    append(db, crate::attach::QUOTED, "new", 2, beyond);
}

#[test]
fn start_goes_on() {
    let scenario = Scenario::new(small_of("month"), &attach("start", "month"));
    scenario.kill_everywhere(&|db, place| scenario.same(db, place));
}

#[test]
fn start_is_called_off() {
    let db = small_of("month");
    let plain = state(&db);
    let scenario = Scenario::new(db, &attach("start", "month"));
    scenario.kill_everywhere(&|db, place| scenario.off(db, place, &plain));
}

/// Where keys are built too: the one or the other, in turns.
#[test]
fn start_by_context() {
    let db = small_of("context");
    let plain = state(&db);
    let scenario = Scenario::new(db, &attach("start", "context"));
    let turn = std::cell::Cell::new(false);
    scenario.kill_everywhere(&|db, place| {
        if turn.replace(!turn.get()) {
            scenario.same(db, place);
        } else {
            scenario.off(db, place, &plain);
        }
    });
}

fn swap(layout: &str) {
    let db = small_of(layout);
    convert(&db, &attach("start", layout)).success();
    more(&db, 0);
    let called_off = TestDatabase::copy_of(&db);
    convert(&called_off, &["rollback"]).success();
    let plain = state(&called_off);
    let scenario = Scenario::new(db, &["swap"]);
    scenario.kill_everywhere(&|db, place| scenario.same(db, place));
    scenario.kill_everywhere(&|db, place| {
        if phase(db) == "ready" {
            scenario.off(db, place, &plain);
        } else {
            convert(db, &["rollback"]).success();
            crate::assert_nothing_left(db, place);
            crate::assert_checked(db);
        }
    });
}

#[test]
fn swap_by_month() {
    swap("month");
}

#[test]
fn swap_by_context() {
    swap("context");
}

fn rollback(layout: &str) {
    let db = small_of(layout);
    convert(&db, &attach("start", layout)).success();
    more(&db, 0);
    let scenario = Scenario::new(db, &["rollback"]);
    let end = scenario.end.clone();
    scenario.kill_everywhere(&|db, place| scenario.off(db, place, &end));
    let db = small_of(layout);
    convert(&db, &attach("run", layout)).success();
    more(&db, 2);
    let scenario = Scenario::new(db, &["rollback"]);
    let end = scenario.end.clone();
    scenario.kill_everywhere(&|db, place| scenario.off(db, place, &end));
}

#[test]
fn rollback_by_month() {
    rollback("month");
}

#[test]
fn rollback_by_context() {
    rollback("context");
}

#[test]
fn finish() {
    let db = small_of("month");
    convert(&db, &attach("run", "month")).success();
    more(&db, 2);
    let scenario = Scenario::new(db, &["finish"]);
    scenario.kill_everywhere(&|db, place| scenario.same(db, place));
}

#[test]
fn at_random() {
    let scenario = Scenario::new(small_of("context"), &attach("run", "context"));
    scenario.kill_at_random(8, &|db, place| scenario.same(db, place));
}

#[test]
fn another_cutover() {
    let db = small_of("month");
    convert(&db, &attach("start", "month")).success();
    db.execute("UPDATE pupctl_conversions SET cutover = now()");
    let scenario = Scenario::new(db, &["resume"]);
    scenario.kill_everywhere(&|db, place| {
        scenario.same(db, place);
        convert(db, &["swap"]).success();
        append(db, "Billing", "new", 2, 2);
        crate::assert_checked(db);
    });
}
