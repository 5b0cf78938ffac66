//! The settled position of a process: followed by one thread, read by all workers.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postgres::Client;

use crate::db::Interrupt;
use crate::db::watermark::Watermark;
use crate::error::{Error, Result};
use crate::finding::holder::Holder;

use super::checkpoint::{self, Tables};
use super::connect::Connect;
use super::failure::is_lasting;
use crate::store::stored_layout;

/// The pause after a look that found something new.
pub(super) const PAUSE_SHORTEST: Duration = Duration::from_millis(4);

/// How long a wait may be deaf to a wish to stop.
const SLICE: Duration = Duration::from_millis(50);

/// How long a position may be held before it is told, and again.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What the thread last saw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Everything at and below is settled.
    pub(super) settled: i64,
    /// The last position that was drawn.
    pub(super) drawn: i64,
    /// When the look began that saw it.
    pub(super) at: Instant,
}

#[derive(Debug, Default)]
struct State {
    seen: Option<Seen>,
    failed: Option<String>,
    fatal: Option<Error>,
}

/// The settled position, shared by the workers of a process.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    moved: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was seen by a look that began after `since`: an earlier one may be of before a crash
    /// of the server.
    pub(super) fn seen(&self, since: Instant) -> Option<Seen> {
        self.state().seen.filter(|seen| seen.at >= since)
    }

    /// The settled position, whoever asks.
    pub(super) fn settled(&self) -> Option<i64> {
        self.state().seen.map(|seen| seen.settled)
    }

    /// Waits until more is settled than `known`, at most so long.
    pub(super) fn wait(&self, known: i64, since: Instant, limit: Duration, stop: &Interrupt) {
        let start = Instant::now();
        let mut state = self.state();
        loop {
            let news = state.seen.is_some_and(|seen| seen.at >= since && seen.settled > known);
            let left = limit.saturating_sub(start.elapsed());
            if news || left.is_zero() || stop.is_raised() {
                return;
            }
            state = self
                .moved
                .wait_timeout(state, left.min(SLICE))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Why there is no settled position, where there is none.
    pub(super) fn failure(&self) -> Option<String> {
        self.state().failed.clone()
    }

    /// There will never be a settled position, and why.
    pub(super) fn give_up(&self, error: Error) {
        self.state().fatal = Some(error);
    }

    /// Why there will never be one.
    pub(super) fn take_fatal(&self) -> Option<Error> {
        self.state().fatal.take()
    }

    fn publish(&self, seen: Option<Seen>, failed: Option<String>) {
        *self.state() = State { seen, failed, fatal: None };
        self.moved.notify_all();
    }
}

/// Follows the settled position until it is told to stop. Gives up only where it will never be
/// found.
pub(super) fn follow(
    shared: &Arc<Shared>,
    connect: &dyn Connect,
    schema: &str,
    poll_interval: Duration,
    stop: &Interrupt,
) -> Result<()> {
    let mut pause = Duration::from_millis(100);
    while !stop.is_raised() {
        let begun = Instant::now();
        let Err(error) = follow_once(shared, connect, schema, poll_interval, stop) else {
            return Ok(());
        };
        shared.publish(None, Some(error.message().to_owned()));
        if is_lasting(&error) {
            return Err(error);
        }
        tracing::warn!("the settled position is lost for now: {error}");
        if begun.elapsed() > Duration::from_mins(1) {
            pause = Duration::from_millis(100);
        }
        sleep(pause, stop);
        pause = (pause * 2).min(Duration::from_secs(5));
    }
    Ok(())
}

fn follow_once(
    shared: &Arc<Shared>,
    connect: &dyn Connect,
    schema: &str,
    poll_interval: Duration,
    stop: &Interrupt,
) -> Result<()> {
    let mut client = connect.connect("pupctl/settled position")?;
    client
        .execute(include_str!("../../sql/projection/follower.sql"), &[])
        .map_err(|error| Error::database("preparing the session", error))?;
    let layout = stored_layout(&mut client, schema)?;
    let tables = Tables::of(&layout, schema);
    let mut follower = Follower::begin(&mut client, &tables, poll_interval)?;
    while !stop.is_raised() {
        let seen = follower.look(&mut client)?;
        shared.publish(Some(seen), None);
        sleep(follower.pause, stop);
    }
    Ok(())
}

/// A watermark with its pace: quick while something happens, slow while nothing does.
#[derive(Debug)]
pub(super) struct Follower {
    watermark: Watermark,
    longest: Duration,
    /// How long to wait until the next look.
    pub(super) pause: Duration,
    held_since: Option<Instant>,
    told: Instant,
}

impl Follower {
    /// Begins at 0, which is always true: beyond a few positions one look at the locks settles them
    /// all. A checkpoint may be of somebody who moved it before everything up to there was settled.
    pub(super) fn begin(client: &mut Client, tables: &Tables, longest: Duration) -> Result<Self> {
        let reached = checkpoint::highest(client, tables)?;
        let watermark = Watermark::begin(client, &tables.events, reached)?;
        let pause = PAUSE_SHORTEST.min(longest);
        Ok(Self { watermark, longest, pause, held_since: None, told: Instant::now() })
    }

    /// Looks once, and chooses the next pause.
    pub(super) fn look(&mut self, client: &mut Client) -> Result<Seen> {
        let at = Instant::now();
        let (before, drawn) = (self.watermark.settled(), self.watermark.drawn());
        let settled = self.watermark.look(client)?;
        let is_news = settled > before || self.watermark.drawn() > drawn;
        self.pause = if is_news { PAUSE_SHORTEST } else { self.pause.mul_f64(1.5) };
        // A look at very many locks takes its time, which others need too.
        self.pause = self.pause.max(at.elapsed() * 4).min(self.longest);
        self.tell(client)?;
        Ok(Seen { settled, drawn: self.watermark.drawn(), at })
    }

    /// Tells whose transaction holds the position up, once it takes long.
    fn tell(&mut self, client: &mut Client) -> Result<()> {
        if !self.watermark.is_held() {
            self.held_since = None;
            return Ok(());
        }
        let since = *self.held_since.get_or_insert_with(Instant::now);
        if since.elapsed() < TELL_EVERY || self.told.elapsed() < TELL_EVERY {
            return Ok(());
        }
        self.told = Instant::now();
        let holders = self.watermark.held_by(client)?;
        let names: Vec<_> = holders.iter().map(Holder::to_string).collect();
        tracing::warn!(
            position = self.watermark.settled(),
            "projections wait for open transactions that write events: {}",
            names.join("; ")
        );
        Ok(())
    }
}

/// Sleeps, but wakes up soon when it is time to stop.
pub(super) fn sleep(duration: Duration, stop: &Interrupt) {
    let start = Instant::now();
    while !stop.is_raised() {
        let left = duration.saturating_sub(start.elapsed());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(SLICE));
    }
}

/// Where a worker learns what is settled.
#[derive(Debug)]
pub(super) enum Settled {
    /// It follows the position itself, on its own connection.
    Own(Box<Follower>),
    /// A thread of the process does.
    Shared {
        /// What it sees.
        shared: Arc<Shared>,
        /// When the worker's own connection was opened.
        since: Instant,
    },
}

impl Settled {
    /// What is settled by now.
    pub(super) fn now(&mut self, client: &mut Client) -> Result<Option<Seen>> {
        match self {
            Self::Own(follower) => follower.look(client).map(Some),
            Self::Shared { shared, since } => match (shared.seen(*since), shared.failure()) {
                (None, Some(failure)) => Err(Error::new(crate::error::Kind::Connection, failure)),
                (seen, _) => Ok(seen),
            },
        }
    }

    /// Waits until there may be more than `known`.
    pub(super) fn wait(&mut self, known: i64, limit: Duration, stop: &Interrupt) {
        match self {
            Self::Own(follower) => sleep(follower.pause.min(limit), stop),
            Self::Shared { shared, since } => shared.wait(known, *since, limit, stop),
        }
    }
}
