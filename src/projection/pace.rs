//! How fast a worker is, for `pupctl projections status`.

use std::time::{Duration, Instant};

/// Over how long it is counted.
const SPAN: Duration = Duration::from_secs(1);

/// How fast a worker is: over the last second in which it did something, and the pause before it.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    events: usize,
    per_second: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { since: Instant::now(), events: 0, per_second: 0.0 }
    }
}

impl Pace {
    /// Notes that so many events were handled.
    pub(super) fn note(&mut self, events: usize) {
        self.events += events;
        let span = self.since.elapsed();
        let is_first = self.per_second == 0.0;
        if !is_first && span < SPAN {
            return;
        }
        #[allow(clippy::cast_precision_loss)]
        let per_second = self.events as f64 / span.as_secs_f64().max(0.05);
        self.per_second = per_second;
        if span >= SPAN {
            (self.since, self.events) = (Instant::now(), 0);
        }
    }

    /// Of each of so many slots.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    pub(super) fn of(&self, slots: usize) -> f32 {
        (self.per_second / slots.max(1) as f64) as f32
    }
}
