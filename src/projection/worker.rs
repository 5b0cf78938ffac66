//! One worker: a connection, and batch after batch on it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postgres::{Client, Statement};

use crate::db::watermark;
use crate::error::{Error, Result};
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;
use crate::store::stored_layout;

use super::batch::{Batch, Care, Work};
use super::checkpoint::{self, Tables, number, register};
use super::config::{ProcessorConfig, Slots};
use super::connect::{Connect, application_name};
use super::definition::{Handler, Projection};
use super::failure::{Failure, of_panic};
use super::report::Control;
use super::shared::{Follower, Settled, Shared, sleep};
use super::sql::SqlSession;
use super::sql::setup::{self, Change};

/// How often a worker looks for what nobody tells it: a resumed projection, a slot that became
/// free, dead letters to handle once more.
const RECHECK: Duration = Duration::from_secs(1);

/// How often the checkpoint moves where nothing is in scope.
const IDLE_MOVE: Duration = Duration::from_millis(200);

/// How often a worker that has nothing to do looks whether something is in its way.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How often the workers are counted.
const COUNT_EVERY: Duration = Duration::from_secs(2);

/// A connection that lasts this long was not one of several in a row that fail.
const LONG: Duration = Duration::from_mins(1);

/// How far a worker is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Until it is told to stop.
    Stopped,
    /// Until everything is handled that was there when it began.
    CaughtUp,
}

/// What a worker needs to begin.
pub(super) struct Worker<'a> {
    pub(super) handler: &'a Handler,
    pub(super) config: &'a ProcessorConfig,
    pub(super) connect: &'a dyn Connect,
    /// The settled position of the process; without it the worker follows it itself.
    pub(super) shared: Option<&'a Arc<Shared>>,
    pub(super) control: &'a Control,
    pub(super) until: Until,
    /// Its name in the checkpoints.
    pub(super) label: String,
}

impl Worker<'_> {
    /// Prepares a connection for what handles events; that of SQL is checked and set up first.
    fn set_up(&self, client: &mut Client, tables: &Tables) -> Result<Handling> {
        match self.handler {
            Handler::Code(projection) => {
                Ok(Handling { projection: Arc::clone(projection), sql: None })
            }
            Handler::Sql(projection, change) => {
                let session = SqlSession::begin(client, projection, tables)?;
                setup::set_up(client, &session, tables, *change)?;
                let session = Arc::new(session.narrow(client)?);
                Ok(Handling { projection: Arc::clone(&session) as _, sql: Some(session) })
            }
        }
    }

    /// Whether it begins the projection where it is not there.
    fn makes(&self) -> bool {
        !matches!(self.handler, Handler::Sql(_, Change::Follow))
    }

    /// Works until it is over. Connects again, after a pause, whenever something fails that passes.
    pub(super) fn run(&self) -> Result<()> {
        let retry = &self.config.retry;
        let mut course = Course { target: None, attempts: 0, slots: self.config.slots };
        loop {
            let begun = Instant::now();
            let failure = match self.caught(&mut course) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if begun.elapsed() > LONG {
                course.attempts = 0;
            }
            self.control.set_cancel(None);
            let error = match failure {
                Failure::Transient(error) => error,
                Failure::Refused(error) => return Err(self.refused(&error)),
                Failure::Fatal(error) => return Err(error),
            };
            if self.control.is_over() {
                return Ok(());
            }
            course.attempts += 1;
            if course.attempts > retry.attempts {
                return Err(error);
            }
            let pause = with_chance(retry.pause(course.attempts));
            tracing::warn!(
                projection = self.handler.name(),
                attempt = course.attempts,
                "trying again in {} ms: {error}",
                pause.as_millis()
            );
            sleep(pause, &self.control.stop);
        }
    }

    /// Of a batch of which each event could be handled, and all together could not.
    fn refused(&self, cause: &Error) -> Error {
        let name = self.handler.name();
        Error::refused(format!("the projection {name} stopped: {}", cause.message()))
            .detail("no event of the batch fails alone")
            .details(cause.detail_lines().iter().cloned())
    }

    /// A worker that panics fails; it must not be missing without a word.
    fn caught(&self, course: &mut Course) -> Result<(), Failure> {
        catch_unwind(AssertUnwindSafe(|| self.connected(course)))
            .unwrap_or_else(|panic| Err(Failure::Fatal(of_panic("worker", &*panic))))
    }

    fn connected(&self, course: &mut Course) -> Result<(), Failure> {
        let config = ProcessorConfig { slots: course.slots, ..self.config.clone() };
        let name = self.handler.name();
        let mut client = self.connect.connect(&application_name(name))?;
        // Before anything that was settled is asked for: a crash before this moment ended the
        // connection of whoever had looked.
        let since = Instant::now();
        self.control.set_cancel(Some(client.cancel_token()));
        let limit = self.config.batch_timeout.as_millis().to_string();
        client
            .execute(include_str!("../../sql/projection/session.sql"), &[&limit])
            .map_err(|error| Failure::database("preparing the session", error))?;
        let layout = stored_layout(&mut client, &self.config.schema)?;
        let tables = Tables::of(&layout, &self.config.schema);
        let scope = self.handler.scope();
        // A standby, for one, would only say that nothing can be written there.
        watermark::check(&mut client, &tables.events)?;
        let handling = self.set_up(&mut client, &tables)?;
        let division = register(&mut client, &tables, name, &scope, &config, self.makes())?;
        course.accept_slots();
        self.control.note_position(division.position);
        let settled = match self.shared {
            Some(shared) => Settled::Shared { shared: Arc::clone(shared), since },
            None => Settled::Own(Box::new(Follower::begin(
                &mut client,
                &tables,
                self.config.poll_interval,
            )?)),
        };
        let caught_up = caught_up(&mut client, &tables, self.config)?;
        let work = Work::prepare(
            &mut client,
            handling,
            scope,
            config,
            tables,
            division,
            self.label.clone(),
        )?;
        Session {
            worker: self,
            client,
            work,
            settled,
            caught_up,
            workers: (1, None),
            moved: Instant::now(),
            checked: None,
            told: Instant::now(),
            barred: None,
        }
        .run(course)
    }
}

/// What handles events on this connection.
pub(super) struct Handling {
    pub(super) projection: Arc<dyn Projection>,
    /// The same one, where it is written in SQL.
    pub(super) sql: Option<Arc<SqlSession>>,
}

fn caught_up(
    client: &mut Client,
    tables: &Tables,
    config: &ProcessorConfig,
) -> Result<Statement, Failure> {
    let pinned = matches!(config.slots, Slots::Pinned { .. });
    let values = values! { checkpoints => tables.checkpoints, pinned };
    let sql = render("projection/caught_up", &values);
    client.prepare(&sql).map_err(|error| Failure::of(checkpoint::failed(error)))
}

/// What a worker knows beyond a connection.
struct Course {
    /// Where to go, which is decided once and not anew after each failure.
    target: Option<i64>,
    /// How often in a row it failed.
    attempts: u32,
    /// How many slots it is for.
    slots: Slots,
}

impl Course {
    /// A worker that has started once goes along when the slots are changed, also over a lost
    /// connection.
    fn accept_slots(&mut self) {
        if let Slots::Shared(slots) = self.slots {
            self.slots = Slots::Initial(slots);
        }
    }
}

/// A worker while it is connected.
struct Session<'a> {
    worker: &'a Worker<'a>,
    client: Client,
    work: Work,
    settled: Settled,
    caught_up: Statement,
    /// How many workers share the slots, and when they were counted.
    workers: (i64, Option<Instant>),
    /// When a checkpoint was moved last.
    moved: Instant,
    /// Up to where everything free was found to be done, and when.
    checked: Option<(i64, Instant)>,
    /// When it was looked why nothing happens.
    told: Instant,
    /// Since when all that is left stands at a barrier.
    barred: Option<Instant>,
}

impl Session<'_> {
    fn run(mut self, course: &mut Course) -> Result<(), Failure> {
        let control = self.worker.control;
        while !control.is_over() {
            let Some(seen) = self.settled.now(&mut self.client)? else {
                self.settled.wait(i64::MIN, RECHECK, &control.stop);
                continue;
            };
            if self.worker.until == Until::CaughtUp && course.target.is_none() {
                course.target = Some(seen.drawn);
            }
            if self.step(seen.settled)? {
                course.attempts = 0;
                continue;
            }
            if let Some(target) = course.target
                && self.has_reached(target)?
            {
                return Ok(());
            }
            self.tell(seen.settled)?;
            self.settled.wait(seen.settled, self.patience(), &control.stop);
        }
        Ok(())
    }

    /// How long to wait when there is nothing to do.
    fn patience(&self) -> Duration {
        if self.worker.until == Until::CaughtUp {
            return Duration::from_millis(20);
        }
        RECHECK
    }

    /// Does what there is to do, in one batch. Whether there was anything.
    fn step(&mut self, settled: i64) -> Result<bool, Failure> {
        if let Some((upto, at)) = self.checked
            && upto >= settled
        {
            if at.elapsed() < self.patience() {
                return Ok(false);
            }
            // One statement instead of a transaction, since nothing is likely to have changed.
            if !self.work.is_something_free(&mut self.client, settled)? {
                self.checked = Some((settled, Instant::now()));
                return Ok(false);
            }
        }
        let may_wait = self.moved.elapsed() < IDLE_MOVE && self.worker.until == Until::Stopped;
        let nothing = self.work.look_ahead(&mut self.client, settled, may_wait)?;
        if nothing && may_wait {
            // Nothing in scope: the checkpoint follows in a while.
            return Ok(false);
        }
        match self.batch(settled)? {
            Some(batch) => {
                self.moved = Instant::now();
                self.checked = None;
                self.worker.control.note(&batch);
                match batch.stopped {
                    Some(error) => Err(Failure::Fatal(error)),
                    None => Ok(true),
                }
            }
            None => {
                self.checked = Some((settled, Instant::now()));
                Ok(false)
            }
        }
    }

    /// A batch; where an event of it cannot be handled, the same one by halves.
    fn batch(&mut self, settled: i64) -> Result<Option<Batch>, Failure> {
        let share = self.share()?;
        let stop = &self.worker.control.stop;
        let error = match self.work.batch(&mut self.client, settled, share, Care::None, stop) {
            // It may have been cancelled; and whoever is in a hurry does not look for poison.
            Err(Failure::Refused(error)) if stop.is_raised() => {
                return Err(Failure::Transient(error));
            }
            Err(Failure::Refused(error)) => error,
            done => return done,
        };
        tracing::debug!(
            projection = self.worker.handler.name(),
            "looking for the event that fails: {error}"
        );
        self.work.forget();
        self.work.batch(&mut self.client, settled, share, Care::Halves, stop)
    }

    /// How many slots to claim, so that each worker gets as many.
    fn share(&mut self) -> Result<i64, Failure> {
        let slots = i64::from(number(self.work.division.slots));
        if slots == 1 || matches!(self.worker.config.slots, Slots::Pinned { .. }) {
            return Ok(1);
        }
        if self.workers.1.is_none_or(|at| at.elapsed() > COUNT_EVERY) {
            let name = application_name(self.worker.handler.name());
            let row = self
                .client
                .query_one(include_str!("../../sql/projection/workers.sql"), &[&name])
                .map_err(|error| Failure::database("counting the workers", error))?;
            self.workers = (row.get::<_, i64>("workers").max(1), Some(Instant::now()));
        }
        Ok((slots + self.workers.0 - 1) / self.workers.0)
    }

    /// How the slots stand to a position.
    fn standing(&mut self, position: i64) -> Result<Standing, Failure> {
        let name = self.worker.handler.name();
        let row = match self.worker.config.slots {
            Slots::Pinned { key, .. } => {
                self.client.query_one(&self.caught_up, &[&name, &position, &number(key)])
            }
            _ => self.client.query_one(&self.caught_up, &[&name, &position]),
        };
        let row = row.map_err(|error| Failure::of(checkpoint::failed(error)))?;
        let standing = Standing {
            behind: row.get("behind"),
            paused: row.get("paused"),
            barred: row.get("barred"),
        };
        if row.get::<_, i64>("slots") > 0 {
            return Ok(standing);
        }
        Err(Failure::Fatal(
            Error::refused(format!("the checkpoints of the projection {name} are gone"))
                .hint("start the worker again to let the projection begin anew"),
        ))
    }

    /// Whether all slots have reached a position; an error where some never will.
    fn has_reached(&mut self, target: i64) -> Result<bool, Failure> {
        let Standing { behind, paused, barred } = self.standing(target)?;
        let name = self.worker.handler.name();
        if behind == 0 {
            return Ok(true);
        }
        if behind > paused + barred {
            self.barred = None;
            return Ok(false);
        }
        // A rescale that goes on will take the barrier away.
        let since = *self.barred.get_or_insert_with(Instant::now);
        if paused == 0 && since.elapsed() < TELL_EVERY {
            return Ok(false);
        }
        let error = if paused > 0 {
            Error::refused(format!("the projection {name} is paused"))
                .hint(format!("let it go on: pupctl projections resume {}", shell_word(name)))
        } else {
            Error::refused(format!("the slots of the projection {name} stand at a barrier"))
                .hint(barrier_hint(name))
        };
        Err(Failure::Fatal(error))
    }

    /// Tells, now and then, why nothing happens where somebody may have forgotten it.
    fn tell(&mut self, settled: i64) -> Result<(), Failure> {
        if self.told.elapsed() < TELL_EVERY {
            return Ok(());
        }
        self.told = Instant::now();
        let Standing { barred, .. } = self.standing(settled)?;
        if barred > 0 {
            let name = self.worker.handler.name();
            tracing::warn!(
                projection = name,
                "{barred} of its slots stand at the barrier of a rescale: {}",
                barrier_hint(name)
            );
        }
        Ok(())
    }
}

/// How many slots have not reached a position, and why.
struct Standing {
    behind: i64,
    paused: i64,
    /// At a barrier, below that position.
    barred: i64,
}

fn barrier_hint(name: &str) -> String {
    let name = shell_word(name);
    format!(
        "finish it with the command that began it, or take it back: \
         pupctl projections rescale {name} --abort"
    )
}

/// A pause between three quarters and the whole of one, so that many do not come back together.
fn with_chance(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let chance = RandomState::new().build_hasher().finish() % 1_000;
    pause.mul_f64(0.75 + f64::from(u16::try_from(chance).unwrap_or(0)) / 4_000.0)
}

/// The name of a new worker in the checkpoints: `host:pid/number`, which no other one has.
pub(super) fn label() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}/{number}", std::process::id())
}
