//! Keeps a copy from going faster than it may.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::db::Interrupt;
use crate::error::Result;

/// The longest sleep without a look at the interrupt.
const NAP: Duration = Duration::from_millis(100);

/// How many rows a second several sessions copy together at most.
#[derive(Debug)]
pub struct Throttle {
    rate: Option<NonZeroU32>,
    /// When the next rows may come.
    next: Mutex<Instant>,
}

impl Throttle {
    /// So many rows a second, or as many as there can be.
    #[must_use]
    pub fn new(rate: Option<NonZeroU32>) -> Self {
        Self { rate, next: Mutex::new(Instant::now()) }
    }

    /// How many rows one transaction copies at most, so that the pauses stay short.
    pub(super) fn batch(&self, rows: i64) -> i64 {
        self.rate.map_or(rows, |rate| rows.min(i64::from(rate.get())))
    }

    /// Waits as long as so many rows are to take.
    pub(super) fn after(&self, rows: i64, interrupt: &Interrupt) -> Result<()> {
        let Some(rate) = self.rate else { return Ok(()) };
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let takes = Duration::from_secs_f64(f64::from(rows) / f64::from(rate.get()));
        let until = match self.next.lock() {
            Ok(mut next) => {
                *next = (*next).max(Instant::now()) + takes;
                *next
            }
            Err(_) => Instant::now() + takes,
        };
        loop {
            interrupt.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(NAP));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept() {
        let throttle = Throttle::new(NonZeroU32::new(1000));
        assert_eq!(throttle.batch(10_000), 1000);
        let start = Instant::now();
        for _ in 0..4 {
            throttle.after(50, &Interrupt::default()).expect("no interrupt");
        }
        assert!(start.elapsed() >= Duration::from_millis(190), "{:?}", start.elapsed());
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let throttle = Throttle::new(None);
        assert_eq!(throttle.batch(10_000), 10_000);
        throttle.after(i64::MAX, &Interrupt::default()).expect("no wait");
    }
}
