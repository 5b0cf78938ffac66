//! Killed at every point of every verb, and at random: the same command goes on, and the way back
//! is open.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::{Output, TestDatabase, eventually};
use crate::{
    Kind, append, assert_checked, assert_nothing_left, assert_same, assert_same_text, assert_sound,
    convert, line, phase, ready, rows, small, state, swapped, to,
};

/// A prepared store and the verb that is killed.
pub(crate) struct Scenario<'a> {
    prepared: TestDatabase,
    words: Vec<&'a str>,
    before: Vec<String>,
    /// What an undisturbed run leaves.
    pub(crate) end: String,
    points: BTreeMap<String, usize>,
    takes: Duration,
}

impl<'a> Scenario<'a> {
    pub(crate) fn new(prepared: TestDatabase, words: &[&'a str]) -> Self {
        let db = TestDatabase::copy_of(&prepared);
        let mut all = line(words);
        all.push("-vv");
        let begun = Instant::now();
        let run = db.pupctl(&all).success();
        let takes = begun.elapsed();
        let mut points = BTreeMap::new();
        for (_, point) in run.stderr.lines().filter_map(|line| line.split_once("reached ")) {
            *points.entry(point.trim().to_owned()).or_default() += 1;
        }
        let (before, end) = (rows(&prepared), state(&db));
        Self { prepared, words: words.to_vec(), before, end, points, takes }
    }

    /// Kills at the first, the second and the last time of each point.
    pub(crate) fn kill_everywhere(&self, again: &dyn Fn(&TestDatabase, &str)) {
        for (point, &times) in &self.points {
            let mut passed = vec![0, 1, times - 1];
            passed.retain(|passed| *passed < times);
            passed.dedup();
            for passed in passed {
                let action = if passed == 0 { String::new() } else { format!("{passed}*off->") };
                let place = format!("{point}={action}return");
                let db = TestDatabase::copy_of(&self.prepared);
                let run = db.command(line(&self.words)).failpoints(&place).run().killed();
                self.after(&db, &place, &run, again);
            }
        }
    }

    pub(crate) fn kill_at_random(&self, rounds: u32, again: &dyn Fn(&TestDatabase, &str)) {
        for round in 1..=rounds {
            let after = self.takes * round / (rounds + 1);
            let db = TestDatabase::copy_of(&self.prepared);
            let run = db.command(line(&self.words)).spawn();
            std::thread::sleep(after);
            let run = run.kill();
            if run.code.is_none() {
                self.after(&db, &format!("after {after:?}"), &run, again);
            }
        }
    }

    fn after(
        &self,
        db: &TestDatabase,
        place: &str,
        run: &Output,
        again: &dyn Fn(&TestDatabase, &str),
    ) {
        eventually("the sessions have ended", || {
            db.one(
                "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name LIKE 'pupctl%'",
            )
        });
        let place = format!("{:?} {place}", self.words);
        assert_same(&self.before, &rows(db), &format!("{place}\n{run}"));
        assert_sound(db, &place);
        again(db, &place);
    }

    /// Runs the same again: as after an undisturbed run.
    pub(crate) fn same(&self, db: &TestDatabase, place: &str) {
        let again = convert(db, &self.words).success();
        assert_same(&self.before, &rows(db), place);
        assert_same_text(&self.end, &state(db), &format!("{place}\n{again}"));
        assert_checked(db);
    }

    /// Calls it off: the plain tables are as they were in the beginning.
    pub(crate) fn off(&self, db: &TestDatabase, place: &str, plain: &str) {
        let run =
            if phase(db) == "none" { None } else { Some(convert(db, &["rollback"]).success()) };
        assert_same(&self.before, &rows(db), place);
        let told = run.map(|run| run.to_string()).unwrap_or_default();
        assert_same_text(plain, &state(db), &format!("{place}\n{told}"));
        assert_nothing_left(db, place);
        // They can be changed again, and converted again.
        db.execute("DELETE FROM events WHERE aggregate_id = 'no one'");
    }
}

/// The layout of most of these tests: with a guard, and heads that are divided.
pub(crate) const LAYOUT: &str = "context,month";

#[test]
fn start_goes_on_where_it_was() {
    let scenario = Scenario::new(small(Kind::Pupctl), &to("start", LAYOUT));
    scenario.kill_everywhere(&|db, place| scenario.same(db, place));
}

#[test]
fn start_can_be_called_off_wherever_it_was() {
    let db = small(Kind::Pupctl);
    let plain = state(&db);
    let scenario = Scenario::new(db, &to("start", LAYOUT));
    scenario.kill_everywhere(&|db, place| scenario.off(db, place, &plain));
}

#[test]
fn resume_goes_on_with_what_was_killed() {
    let scenario = Scenario::new(small(Kind::Pupctl), &to("start", "context,hash"));
    scenario.kill_at_random(8, &|db, place| {
        if ["none", "ready"].contains(&phase(db).as_str()) {
            return scenario.same(db, place);
        }
        append(db, "Billing", "o-1", 2, 0);
        let before = rows(db);
        convert(db, &["resume"]).success();
        convert(db, &["swap"]).success();
        assert_same(&before, &rows(db), place);
        assert_sound(db, place);
        convert(db, &["finish"]).success();
        assert_checked(db);
        assert_nothing_left(db, place);
    });
}

fn small_ready() -> (TestDatabase, String) {
    let db = small(Kind::Pupctl);
    let plain = state(&db);
    convert(&db, &to("start", LAYOUT)).success();
    append(&db, "Billing", "o-1", 2, 0);
    append(&db, "Identity", "new", 2, 0);
    (db, plain)
}

#[test]
fn swap_goes_on_where_it_was() {
    let (db, _) = small_ready();
    let scenario = Scenario::new(db, &["swap"]);
    scenario.kill_everywhere(&|db, place| scenario.same(db, place));
    scenario.kill_at_random(4, &|db, place| scenario.same(db, place));
}

#[test]
fn swap_can_be_called_off_wherever_it_was() {
    let (db, _) = small_ready();
    // What came since belongs to the old tables too.
    let called_off = TestDatabase::copy_of(&db);
    convert(&called_off, &["rollback"]).success();
    let plain = state(&called_off);
    let scenario = Scenario::new(db, &["swap"]);
    scenario.kill_everywhere(&|db, place| scenario.off(db, place, &plain));
}

#[test]
fn a_rollback_before_the_swap_is_finished_by_the_next() {
    let (db, _) = small_ready();
    let scenario = Scenario::new(db, &["rollback"]);
    let end = scenario.end.clone();
    scenario.kill_everywhere(&|db, place| scenario.off(db, place, &end));
    // Nobody goes on with what nothing protects any more.
    scenario.kill_everywhere(&|db, place| {
        let frozen: i64 = db.one(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'events'::regclass
                AND tgname = 'pupctl_convert'",
        );
        if frozen == 0 {
            let run = convert(db, &["swap"]).failure(1);
            assert!(run.stderr.contains("no conversion goes on"), "{place} {run}");
        }
        if phase(db) == "rolled_back" {
            let again = convert(db, &to("start", "hash"));
            if again.code != Some(0) {
                assert!(again.stderr.contains("pupctl convert rollback"), "{place} {again}");
                convert(db, &["rollback"]).success();
                convert(db, &to("start", "hash")).success();
            }
        }
    });
}

#[test]
fn a_rollback_after_the_swap_is_finished_by_the_next() {
    let db = small(Kind::Pupctl);
    convert(&db, &to("run", LAYOUT)).success();
    append(&db, "Billing", "o-1", 2, 0);
    append(&db, "Identity", "new", 2, 0);
    let scenario = Scenario::new(db, &["rollback"]);
    let end = scenario.end.clone();
    scenario.kill_everywhere(&|db, place| scenario.off(db, place, &end));
    scenario.kill_at_random(4, &|db, place| scenario.off(db, place, &end));
}

#[test]
fn a_finish_is_finished_by_the_next() {
    let db = swapped(Kind::Pupctl, LAYOUT);
    append(&db, "Billing", "o-1", 2, 0);
    let scenario = Scenario::new(db, &["finish"]);
    scenario.kill_everywhere(&|db, place| {
        // The way back is open, or it says that it is not.
        let gone: bool = db.one(
            "SELECT to_regclass('events_before_convert') IS NULL
                OR to_regclass('aggregate_heads_before_convert') IS NULL",
        );
        if gone && phase(db) == "swapped" {
            let run = convert(db, &["rollback"]).failure(1);
            assert!(run.stderr.contains("pupctl convert finish"), "{place} {run}");
        }
        scenario.same(db, place);
        assert_nothing_left(db, place);
    });
}

#[test]
fn a_swap_that_is_interrupted_says_so() {
    let db = ready(Kind::Pupctl, "context");
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT count(*) FROM events").expect("a lock");
    let run = db.command(line(&["swap"])).args(["--lock-budget", "60s"]).spawn();
    std::thread::sleep(Duration::from_millis(1500));
    run.signal("INT");
    let run = run.wait().failure(130);
    assert!(run.stderr.contains("interrupted"), "{run}");
    reader.batch_execute("COMMIT").expect("the end");
    convert(&db, &["swap"]).success();
}

/// One transaction cannot have the locks of all partitions: what was proven before the first piece
/// was dropped is not looked for in the rest.
#[test]
fn many_partitions_are_dropped_in_pieces() {
    for verb in [None, Some("swap")] {
        let db = ready(Kind::Pupctl, "context,month");
        if let Some(verb) = verb {
            convert(&db, &[verb]).success();
        }
        append(&db, "Billing", "o-1", 2, 0);
        let before = rows(&db);
        // Heads, and two pieces of events.
        let failpoint = "convert::dropped_some=2*off->return";
        let run = db.command(line(&["rollback"])).failpoints(failpoint).run().killed();
        let left = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relispartition";
        assert!((1..25).contains(&db.one::<i64>(left)), "{run}");
        convert(&db, &["rollback"]).success();
        assert_same(&before, &rows(&db), "rollback");
        assert_nothing_left(&db, "rollback");
        assert_checked(&db);
    }
}
