//! Tries to swap the tables until nobody is in the way.

use std::time::{Duration, Instant};

use crate::catalog::Catalog;
use crate::db::snapshots::Moment;
use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::finding::holder::Holder;
use crate::plan::convert::Strategy;

use super::Converter;
use super::planned::{Planned, Way};
use super::record::Record;

/// How long the first tries for a lock take: as long as this, everybody queues up behind them.
const TRY_FIRST: Duration = Duration::from_millis(50);

/// So many tries are that short. Beside transactions that are longer, and never end all at once,
/// short ones would never succeed: later ones take longer and longer.
const SHORT_TRIES: u32 = 8;

/// The longest try. Writers that wait for it look for deadlocks after a second (the server's
/// `deadlock_timeout`), and one that has read its head and waits at the events is in one with the
/// swap: a try has to give way first.
const TRY_LONGEST: Duration = Duration::from_millis(400);

/// So often it is hoped that no event comes between the last copy and the locks. With such a try
/// no row is at a new place that is younger than the snapshots of those who wait for it. After that
/// the last events are copied while they wait.
const LATE_MAX: u32 = 8;

/// The pause between two tries; each further one doubles it.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// Why a try did not succeed.
pub(super) enum Setback {
    /// Somebody held a lock.
    Lock(Error),
    /// Somebody reads with a snapshot from before the last rows came to where they will be.
    Snapshots(Vec<Holder>),
    /// An event came for which there is no partition.
    Homeless(Error),
    /// Somebody has changed what hangs on the tables.
    Changed,
    /// Events have come since the last copy.
    Late,
}

/// How long writers and readers waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stall {
    /// How many tries it took.
    pub tries: u32,
    /// For how long writers were kept out in the one that succeeded, in microseconds.
    pub writers_us: u64,
    /// For how long everybody was kept out, in microseconds.
    pub everybody_us: u64,
}

impl Converter<'_> {
    /// Tries until the tables have changed names, or the time is over.
    pub(super) fn exchange(&mut self, way: Way) -> Result<Stall> {
        let start = Instant::now();
        let (mut pause, mut told, mut tries, mut late) = (PAUSE_FIRST, false, 0, 0);
        self.heads_after = self.record.copied_to.unwrap_or(i64::MIN);
        let mut planned = self.planned(way)?;
        let mut copied = Moment::now(&mut self.first()?.client)?;
        loop {
            self.interrupt.check()?;
            tries += 1;
            let patience = patience(tries);
            if self.catch_up_before(way)? {
                copied = Moment::now(&mut self.first()?.client)?;
            }
            // Without a lock yet, so that nobody waits for those who have read for long.
            let moves = planned.moves(self.locked.client())?;
            let older = if self.record.strategy == Strategy::Copy || moves {
                let (tables, heads, pids) = (&planned.tables, planned.heads(), &planned.pids);
                copied.older(&mut self.first()?.client, tables, &heads, pids, None)?.holders
            } else {
                Vec::new()
            };
            let setback = if older.is_empty() {
                match self.attempt(&planned, &mut copied, patience, late >= LATE_MAX)? {
                    Ok(stall) => return Ok(Stall { tries, ..stall }),
                    Err(setback) => setback,
                }
            } else {
                Setback::Snapshots(older)
            };
            if start.elapsed() + pause >= self.options.limits.budget {
                return Err(self.exhausted(setback));
            }
            if !told {
                told = true;
                self.tell_of(&setback);
            }
            match setback {
                Setback::Homeless(error) => {
                    self.extend(false, error)?;
                    self.protect_all()?;
                    planned = self.planned(way)?;
                }
                Setback::Changed => planned = self.planned(way)?,
                Setback::Late => (late, pause) = (late + 1, PAUSE_FIRST),
                Setback::Lock(_) | Setback::Snapshots(_) => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_LONGEST);
                }
            }
        }
    }

    /// Much may have come while others were waited for: writers never wait for more than a moment's
    /// events. Where it is little nothing is copied, since those who read would have to be waited
    /// for anew. Gives back whether anything was copied.
    fn catch_up_before(&mut self, way: Way) -> Result<bool> {
        if self.record.strategy == Strategy::Attach || !self.has_long_tail(way)? {
            return Ok(false);
        }
        match self.shorten_tail(way) {
            // check_violation: no partition takes the row.
            Err(error) if error.sqlstate() == Some("23514") && way == Way::Forth => {
                self.extend(false, error)?;
                self.protect_all()?;
                self.shorten_tail(way)
            }
            outcome => outcome,
        }
    }

    fn planned(&mut self, way: Way) -> Result<Planned> {
        let pids = self.pids()?;
        let planned = Planned::read(self.locked.client(), &self.record, way)?;
        Ok(Planned { pids, heads_after: self.heads_after, ..planned })
    }

    /// One try; nothing is changed unless it succeeds, but for rows that are copied.
    fn attempt(
        &mut self,
        planned: &Planned,
        copied: &mut Moment,
        patience: Duration,
        with_tail: bool,
    ) -> Result<std::result::Result<Stall, Setback>> {
        let Self { locked, workers, record, .. } = self;
        let Some(worker) = workers.first_mut() else {
            return Err(Error::invalid("a conversion needs a session beside the first"));
        };
        let mut attempted = record.clone();
        let client = locked.client();
        let mut transaction = client.transaction().map_err(exchanging)?;
        let second = &mut worker.client;
        let limits = (patience, with_tail);
        let outcome = planned.within(&mut transaction, second, &mut attempted, copied, limits);
        // What was copied is committed, whatever becomes of the rest.
        record.copied_to = attempted.copied_to;
        match outcome {
            Ok(Ok((locked_at, all_at))) => {
                reach("convert::before_swap");
                transaction.commit().map_err(exchanging)?;
                let (writers_us, everybody_us) = (micros(locked_at), micros(all_at));
                reach("convert::swapped");
                *record = attempted;
                Ok(Ok(Stall { writers_us, everybody_us, ..Stall::default() }))
            }
            Ok(Err(setback)) => {
                transaction.rollback().map_err(exchanging)?;
                Ok(Err(setback))
            }
            Err(error) if error.is_lock_failure() => {
                transaction.rollback().map_err(exchanging)?;
                Ok(Err(Setback::Lock(error)))
            }
            // check_violation: no partition takes the row.
            Err(error) if error.sqlstate() == Some("23514") && planned.way == Way::Forth => {
                transaction.rollback().map_err(exchanging)?;
                Ok(Err(Setback::Homeless(error)))
            }
            Err(error) => Err(error),
        }
    }

    fn tell_of(&mut self, setback: &Setback) {
        match setback {
            Setback::Lock(_) => self.progress.tell("Waiting for locks, a moment at a time"),
            Setback::Snapshots(holders) => {
                let words: Vec<_> = holders.iter().map(ToString::to_string).collect();
                let words = format!("Waiting for older readers: {}", words.join("; "));
                self.progress.tell(&words);
            }
            Setback::Homeless(_) | Setback::Changed | Setback::Late => {}
        }
    }

    fn exhausted(&self, setback: Setback) -> Error {
        let budget = humantime::format_duration(self.options.limits.budget);
        let hint = "the store is as it was: run the command again when they are done; or give it \
                    more time with --lock-budget";
        match setback {
            Setback::Lock(cause) => Error::new(
                Kind::LockTimeout,
                format!("the locks for the swap were not free within {budget}"),
            )
            .detail(cause.message())
            .hint(hint)
            .because(cause),
            Setback::Snapshots(holders) => Error::new(
                Kind::LockTimeout,
                format!(
                    "others have read for longer than {budget}, and would not find the last rows \
                     in the other table"
                ),
            )
            .details(holders.iter().map(ToString::to_string))
            .hint(hint),
            Setback::Homeless(error) => error,
            Setback::Late => {
                Error::new(Kind::LockTimeout, format!("events came for {budget} without a pause"))
                    .hint(hint)
            }
            Setback::Changed => Error::refused(
                "what hangs on the tables (views, triggers, rights) changes all the time",
            )
            .hint(hint),
        }
    }
}

/// How long a try may wait for each lock.
fn patience(tries: u32) -> Duration {
    let doublings = tries.saturating_sub(SHORT_TRIES).div_ceil(2).min(10);
    (TRY_FIRST * 2_u32.pow(doublings)).min(TRY_LONGEST)
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn exchanging(error: postgres::Error) -> Error {
    Error::database("exchanging the tables", error)
}

/// What the catalog says of the store while it is converted.
pub(super) fn has_new_tables(catalog: &Catalog, record: &Record) -> bool {
    record.tables.iter().any(|table| table.built(catalog).is_some())
}
