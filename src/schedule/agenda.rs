//! Which job is due when, and what follows from how a run ended. The time is told to it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::layout::name::fnv1a;

use super::Job;

/// The longest pause after a failure.
const RETRY_LONGEST: TimeDelta = TimeDelta::minutes(30);

/// After so many failures in a row a job waits for its next time.
const RETRIES_MAX: u32 = 6;

/// A clock that was set back by more was wrong before: what it had is forgotten.
const SET_BACK_MAX: TimeDelta = TimeDelta::days(1);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it had to do.
    Done,
    /// It failed, and may work when it is tried again.
    Failed,
    /// It failed, and would fail again.
    Hopeless,
}

/// How jobs are spread and tried again.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Each run begins up to so much later than its time.
    pub jitter: Duration,
    /// The pause after the first failure; each further one doubles it.
    pub retry: Duration,
    /// What is different from store to store, so that they do not begin at once.
    pub salt: u32,
}

/// A job, and how far it is.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The job.
    pub job: Job,
    /// How often it failed since it was done last.
    pub failures: u32,
    covered: DateTime<Utc>,
    /// All times up to this one had their run, whether it worked or not.
    begun: DateTime<Utc>,
    retry_at: Option<DateTime<Utc>>,
    planned: Option<DateTime<Utc>>,
}

impl Entry {
    /// When it runs next.
    #[must_use]
    pub fn planned(&self) -> Option<DateTime<Utc>> {
        self.planned
    }

    /// Up to when nothing was missed: a daemon that begins later goes on from here.
    #[must_use]
    pub fn covered(&self) -> DateTime<Utc> {
        self.covered
    }
}

/// All jobs.
#[derive(Debug)]
pub struct Agenda {
    entries: Vec<Entry>,
    pace: Pace,
}

impl Agenda {
    /// Jobs of which `known` tells up to when nothing was missed. What was missed since is due at
    /// once, however often it was; a job that is not known begins now.
    #[must_use]
    pub fn new(
        jobs: Vec<Job>,
        pace: Pace,
        now: DateTime<Utc>,
        known: impl Fn(&Job) -> Option<DateTime<Utc>>,
    ) -> Self {
        let entry = |job: Job| {
            let covered = known(&job).unwrap_or(now);
            Entry { job, failures: 0, covered, begun: covered, retry_at: None, planned: None }
        };
        let mut agenda = Self { entries: jobs.into_iter().map(entry).collect(), pace };
        agenda.observe(now);
        for index in 0..agenda.entries.len() {
            agenda.plan(index);
        }
        agenda
    }

    /// The jobs, in their order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The job that is next, and when.
    #[must_use]
    pub fn next(&self) -> Option<(usize, DateTime<Utc>)> {
        let planned = self.entries.iter().enumerate();
        planned.filter_map(|(index, entry)| Some((index, entry.planned?))).min_by_key(|(_, at)| *at)
    }

    /// The job that is due.
    #[must_use]
    pub fn due(&self, now: DateTime<Utc>) -> Option<usize> {
        self.next().filter(|(_, at)| *at <= now).map(|(index, _)| index)
    }

    /// Looks at the clock, which may have been set back: nothing runs a second time then, unless
    /// the clock was wrong by so much that nothing would run for days.
    pub fn observe(&mut self, now: DateTime<Utc>) {
        for index in 0..self.entries.len() {
            let given_up = self.entries[index].failures > RETRIES_MAX;
            let pause = if given_up { RETRY_LONGEST } else { self.pause(index) };
            let latest = now + pause;
            let entry = &mut self.entries[index];
            let far = entry.begun.max(entry.covered) - now > SET_BACK_MAX;
            let late = entry.retry_at.is_some_and(|at| at > latest);
            if far {
                entry.covered = entry.covered.min(now);
                entry.begun = now;
            }
            if far || late {
                entry.retry_at = entry.retry_at.map(|at| at.min(latest));
                self.plan(index);
            }
        }
    }

    /// A run begins, which stands for all that were missed.
    pub fn begin(&mut self, index: usize, at: DateTime<Utc>) {
        let entry = &mut self.entries[index];
        entry.begun = entry.begun.max(at);
        entry.retry_at = None;
        self.plan(index);
    }

    /// It has ended.
    pub fn end(&mut self, index: usize, at: DateTime<Utc>, verdict: Verdict) {
        let pause = self.pause(index);
        let entry = &mut self.entries[index];
        if verdict == Verdict::Done {
            entry.failures = 0;
            entry.covered = entry.begun;
            return;
        }
        entry.failures += 1;
        if verdict == Verdict::Hopeless {
            entry.covered = entry.begun;
        } else if entry.failures <= RETRIES_MAX {
            entry.retry_at = Some(at + pause);
        } else {
            let earliest = at + RETRY_LONGEST;
            let regular = entry.job.timetable.next_after(at);
            entry.retry_at = regular.filter(|at| *at < earliest).map(|_| earliest);
        }
        self.plan(index);
    }

    fn pause(&self, index: usize) -> TimeDelta {
        let doubled = self.pace.retry.saturating_mul(1 << self.entries[index].failures.min(16));
        TimeDelta::from_std(doubled).unwrap_or(RETRY_LONGEST).min(RETRY_LONGEST)
    }

    fn plan(&mut self, index: usize) {
        let regular = || {
            let entry = &self.entries[index];
            let at = entry.job.timetable.next_after(entry.begun)?;
            Some(at + self.jitter(&entry.job, at))
        };
        self.entries[index].planned = self.entries[index].retry_at.or_else(regular);
    }

    /// The same for the same run, so that a daemon that begins anew does not change it.
    fn jitter(&self, job: &Job, at: DateTime<Utc>) -> TimeDelta {
        let most = u64::try_from(self.pace.jitter.as_millis()).unwrap_or(u64::MAX);
        let hash = fnv1a(&format!("{} {} {}", self.pace.salt, job.name, at.timestamp()));
        let milliseconds = u64::from(hash).checked_rem(most).unwrap_or(0);
        TimeDelta::milliseconds(i64::try_from(milliseconds).unwrap_or(0))
    }
}
