//! Which job is due when, told by a clock that does what it likes.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pupctl::schedule::agenda::{Agenda, Pace, Verdict};
use pupctl::schedule::{Job, Timetable};

use crate::at;

const PACE: Pace = Pace { jitter: Duration::ZERO, retry: Duration::from_mins(1), salt: 0 };

fn job(name: &str, cron: &str) -> Job {
    let timetable = Timetable { expression: cron.parse().expect("a time"), zone: chrono_tz::UTC };
    let words = vec!["partitions".to_owned(), "ensure".to_owned()];
    Job { name: name.to_owned(), words, command: "partitions ensure", timetable, destroys: false }
}

fn agenda(now: &str, covered: Option<&str>) -> Agenda {
    let jobs = vec![job("daily", "17 3 * * *"), job("hourly", "47 * * * *")];
    Agenda::new(jobs, PACE, at(now), |_| covered.map(at))
}

/// Runs all that is due, and gives back the names.
fn run(agenda: &mut Agenda, now: DateTime<Utc>) -> Vec<String> {
    let mut ran = Vec::new();
    agenda.observe(now);
    while let Some(index) = agenda.due(now) {
        ran.push(agenda.entries()[index].job.name.clone());
        agenda.begin(index, now);
        agenda.end(index, now, Verdict::Done);
        assert!(ran.len() < 10, "{ran:?}");
    }
    ran
}

#[test]
fn a_job_that_is_not_known_waits_for_its_time() {
    let mut agenda = agenda("2026-11-22T03:00:00Z", None);
    assert_eq!(agenda.next(), Some((0, at("2026-11-22T03:17:00Z"))));
    assert!(run(&mut agenda, at("2026-11-22T03:16:59Z")).is_empty());
    assert_eq!(run(&mut agenda, at("2026-11-22T03:17:00Z")), ["daily"]);
    assert_eq!(run(&mut agenda, at("2026-11-22T03:47:00Z")), ["hourly"]);
    assert_eq!(agenda.next(), Some((1, at("2026-11-22T04:47:00Z"))));
}

#[test]
fn what_was_missed_is_made_up_once() {
    let mut agenda = agenda("2026-11-22T12:00:00Z", Some("2026-10-01T00:00:00Z"));
    assert_eq!(run(&mut agenda, at("2026-11-22T12:00:00Z")), ["hourly", "daily"]);
    assert_eq!(agenda.entries()[0].covered(), at("2026-11-22T12:00:00Z"));
    // A month ahead it is the same.
    assert_eq!(run(&mut agenda, at("2026-12-23T12:00:00Z")), ["hourly", "daily"]);
    assert!(run(&mut agenda, at("2026-12-23T12:00:01Z")).is_empty());
}

#[test]
fn a_clock_that_is_set_back_runs_nothing_twice() {
    let mut agenda = agenda("2026-11-22T03:00:00Z", None);
    assert_eq!(run(&mut agenda, at("2026-11-22T04:00:00Z")), ["daily", "hourly"]);
    for minute in 0..60 {
        let now = at("2026-11-22T03:00:00Z") + TimeDelta::minutes(minute);
        assert!(run(&mut agenda, now).is_empty(), "{now}");
    }
    assert_eq!(run(&mut agenda, at("2026-11-22T04:47:00Z")), ["hourly"]);
}

#[test]
fn a_clock_that_was_a_month_ahead_does_not_stop_the_jobs_for_a_month() {
    let mut agenda = agenda("2026-11-22T03:00:00Z", None);
    assert_eq!(run(&mut agenda, at("2026-12-22T03:10:00Z")).len(), 2);
    // Put right again.
    assert!(run(&mut agenda, at("2026-11-22T03:16:00Z")).is_empty());
    assert_eq!(run(&mut agenda, at("2026-11-22T03:17:00Z")), ["daily"]);
    // The same for what an earlier daemon has noted.
    let agenda = self::agenda("2026-11-22T03:00:00Z", Some("2026-12-22T03:10:00Z"));
    assert_eq!(agenda.next(), Some((0, at("2026-11-22T03:17:00Z"))));
}

#[test]
fn a_failure_is_tried_again_less_and_less_often() {
    let mut agenda =
        Agenda::new(vec![job("daily", "17 3 * * *")], PACE, at("2026-11-22T03:00:00Z"), |_| None);
    let mut now = at("2026-11-22T03:17:00Z");
    let mut pauses = Vec::new();
    for _ in 0..8 {
        agenda.begin(0, now);
        agenda.end(0, now, Verdict::Failed);
        let next = agenda.next().expect("a time").1;
        pauses.push((next - now).num_minutes());
        now = next;
    }
    // After six times in a row the next regular one counts.
    assert_eq!(pauses[..6], [1, 2, 4, 8, 16, 30]);
    assert_eq!(pauses[6], 24 * 60 - 61);
    assert_eq!(agenda.entries()[0].failures, 8);
    // Nothing of it was covered: another daemon makes it up.
    assert_eq!(agenda.entries()[0].covered(), at("2026-11-22T03:00:00Z"));
    agenda.begin(0, now);
    agenda.end(0, now, Verdict::Done);
    assert_eq!((agenda.entries()[0].failures, agenda.entries()[0].covered()), (0, now));
}

#[test]
fn a_job_of_every_minute_is_held_back_too() {
    let mut agenda =
        Agenda::new(vec![job("often", "* * * * *")], PACE, at("2026-11-22T03:00:00Z"), |_| None);
    let mut now = at("2026-11-22T03:01:00Z");
    for pause in [1, 2, 4, 8, 16, 30, 30, 30] {
        agenda.begin(0, now);
        agenda.end(0, now, Verdict::Failed);
        let next = agenda.next().expect("a time").1;
        assert_eq!((next - now).num_minutes(), pause);
        now = next;
    }
}

#[test]
fn a_mistake_is_not_tried_again_before_its_time() {
    let mut agenda = agenda("2026-11-22T03:00:00Z", None);
    agenda.begin(0, at("2026-11-22T03:17:00Z"));
    agenda.end(0, at("2026-11-22T03:17:05Z"), Verdict::Hopeless);
    assert_eq!(agenda.entries()[0].planned(), Some(at("2026-11-23T03:17:00Z")));
}

#[test]
fn a_clock_that_is_set_back_does_not_put_off_another_try() {
    let mut agenda = agenda("2026-11-22T03:00:00Z", None);
    agenda.begin(0, at("2026-11-22T03:17:00Z"));
    agenda.end(0, at("2026-11-22T03:17:00Z"), Verdict::Failed);
    agenda.observe(at("2026-11-21T23:00:00Z"));
    assert_eq!(agenda.entries()[0].planned(), Some(at("2026-11-21T23:02:00Z")));
}

#[test]
fn jitter_is_the_same_for_the_same_run_and_other_for_others() {
    let pace = |salt| Pace { jitter: Duration::from_mins(10), salt, ..PACE };
    let next = |salt| {
        let jobs = vec![job("daily", "17 3 * * *")];
        Agenda::new(jobs, pace(salt), at("2026-11-22T03:00:00Z"), |_| None)
            .next()
            .expect("a time")
            .1
    };
    let times: std::collections::BTreeSet<_> = (0..50).map(next).collect();
    assert!(times.len() > 40, "{times:?}");
    let (first, last) = (at("2026-11-22T03:17:00Z"), at("2026-11-22T03:27:00Z"));
    assert!(times.iter().all(|time| (first..last).contains(time)), "{times:?}");
    assert_eq!(next(7), next(7));
}
