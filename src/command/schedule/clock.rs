//! The clock of the machine, which may be set while the daemon runs.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// What the clock may be off by between two looks without having been set.
const TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// The time now.
pub(super) fn now() -> DateTime<Utc> {
    Utc::now() + crate::failpoint::clock_offset()
}

/// The last look at the clock.
#[derive(Debug)]
pub(super) struct Clock {
    at: DateTime<Utc>,
    since: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { at: now(), since: Instant::now() }
    }

    /// The time, and by how much the clock was set since the last look.
    pub(super) fn look(&mut self) -> (DateTime<Utc>, Option<TimeDelta>) {
        let passed = TimeDelta::from_std(self.since.elapsed()).unwrap_or_default();
        let expected = self.at + passed;
        *self = Self::start();
        let set = self.at - expected;
        (self.at, (set.abs() > TOLERANCE).then_some(set))
    }
}
