//! How fast a conversion may go, so that others do not suffer.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use postgres::Client;

use crate::error::{Error, Result};

use super::workers::{Shared, rest};

/// How often the server is asked how it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The longest sleep: somebody may want it to end.
const STEP: Duration = Duration::from_millis(100);

/// The limits of a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most rows in a second.
    pub rate: Option<u64>,
    /// How many bytes of the log the slowest standby may be behind.
    pub lag: Option<u64>,
    /// How long the commit of another session may take.
    pub latency: Option<Duration>,
    /// How much of its time a session works, in percent.
    pub load: Option<u8>,
}

/// Keeps to the limits.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    /// When the next rows may be copied.
    next: Mutex<Instant>,
    looked: Instant,
    told: bool,
}

impl Pace {
    /// Nothing has been copied yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let now = Instant::now();
        Self { limits, next: Mutex::new(now), looked: now, told: false }
    }

    /// The most rows in a second.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        self.limits.rate
    }

    /// Waits as long as so many rows have to take.
    pub fn wait(&self, rows: u64, shared: &Shared) {
        let until = self.due(rows);
        while Instant::now() < until && !shared.stop.load(Ordering::SeqCst) {
            std::thread::sleep(until.saturating_duration_since(Instant::now()).min(STEP));
        }
    }

    /// When the next rows may be copied after so many.
    fn due(&self, rows: u64) -> Instant {
        let now = Instant::now();
        let Some(rate) = self.limits.rate.filter(|rate| *rate > 0) else { return now };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // What was not used is not saved up.
        *next = (*next).max(now) + Duration::from_micros(rows.saturating_mul(1_000_000) / rate);
        *next
    }

    /// Waits after work of the very session that looks after the limits: so long it took, and so
    /// many rows were copied. Ends early when `is_over`. `commit` is that of [`Pace::look`], whose
    /// words `tell` hears at once: it may be held up for long.
    pub fn rest(
        &mut self,
        client: &mut Client,
        (took, rows): (Duration, u64),
        is_over: &mut dyn FnMut(&mut Client) -> Result<bool>,
        commit: &mut dyn FnMut(&mut Client) -> Result<()>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let until = self.due(rows).max(Instant::now() + rest(self.limits.load, took));
        let shared = Shared::default();
        while !is_over(client)? {
            if let Some(words) = self.look(client, &shared, commit)? {
                tell(&words);
            }
            let left = until.saturating_duration_since(Instant::now());
            let step = if shared.hold.load(Ordering::SeqCst) { STEP } else { left.min(STEP) };
            if step.is_zero() {
                break;
            }
            std::thread::sleep(step);
        }
        Ok(())
    }

    /// Holds the copy up, or lets it go on, as the server says. `commit` is what a small writer
    /// does. Gives back words where there is something to tell.
    pub fn look(
        &mut self,
        client: &mut Client,
        shared: &Shared,
        commit: &mut dyn FnMut(&mut Client) -> Result<()>,
    ) -> Result<Option<String>> {
        if self.looked.elapsed() < LOOK_EVERY {
            return Ok(None);
        }
        self.looked = Instant::now();
        let mut reason = None;
        if let Some(limit) = self.limits.lag {
            let behind = lag(client)?;
            if behind > limit {
                reason = Some(format!("a standby is {behind} bytes behind"));
            }
        }
        if let Some(limit) = self.limits.latency {
            let start = Instant::now();
            commit(client)?;
            let took = start.elapsed();
            if took > limit {
                reason = Some(format!("a commit took {} ms", took.as_millis()));
            }
        }
        shared.hold.store(reason.is_some(), Ordering::SeqCst);
        let first = reason.is_some() && !self.told;
        self.told |= first;
        Ok(reason.filter(|_| first).map(|reason| format!("It waits now and then: {reason}")))
    }
}

fn lag(client: &mut Client) -> Result<u64> {
    let row = client
        .query_one(include_str!("../../../sql/convert/lag.sql"), &[])
        .map_err(|error| Error::database("asking how far standbys are", error))?;
    if row.get::<_, i64>("hidden") > 0 {
        return Err(Error::refused("the role may not see how far the standbys are behind")
            .hint("give it pg_read_all_stats, or leave out --max-lag"));
    }
    Ok(row.get::<_, Option<i64>>("bytes").and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
}
