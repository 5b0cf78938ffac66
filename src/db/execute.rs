//! Runs a script: the only place that writes DDL.
//!
//! Every transaction runs under `lock_timeout`: many short tries instead of one long wait,
//! because whoever waits for a lock makes everybody else wait behind it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use postgres::{Client, Transaction};

use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::migration;
use crate::plan::Transaction as Within;
use crate::render::script::joined;
use crate::render::{Lock, LockMode, RenderedStep};

use super::blockers::{self, Blocker};
use super::{Interrupt, Locked};

/// How long to try for locks. Never a last try without a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockLimits {
    /// `lock_timeout` of the first try; each further try doubles it.
    pub first: Duration,
    /// `lock_timeout` of the longest try.
    pub longest: Duration,
    /// How long to go on trying a step before giving up.
    pub budget: Duration,
}

impl Default for LockLimits {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(1),
            budget: Duration::from_secs(30),
        }
    }
}

/// Told how a run goes on, for a progress bar.
pub trait Progress {
    /// A step begins.
    fn begin(&mut self, step: &RenderedStep);
    /// A step did not get its locks; these sessions hold them.
    fn blocked(&mut self, step: &RenderedStep, blockers: &[Blocker]);
    /// A step is done.
    fn done(&mut self, step: &RenderedStep);
}

/// Says nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _step: &RenderedStep) {}
    fn blocked(&mut self, _step: &RenderedStep, _blockers: &[Blocker]) {}
    fn done(&mut self, _step: &RenderedStep) {}
}

/// What is looked at in a transaction once its locks are there, before the rest of it. An error
/// ends the transaction, and the step.
pub type Check<'a> = &'a mut dyn FnMut(&mut Transaction<'_>) -> Result<()>;

/// Runs a step that is one transaction, whose first statement takes its locks, with something to
/// look at under them, and something to write down with the rest.
pub fn execute_checked(
    locked: &mut Locked,
    step: &RenderedStep,
    limits: LockLimits,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
    before: Check<'_>,
    after: Check<'_>,
) -> Result<()> {
    interrupt.check()?;
    progress.begin(step);
    reach("execute::before_step");
    let client = locked.client();
    climb_with(client, step, limits, interrupt, progress, &mut |client, timeout| {
        let (locks, rest) = step.statements.split_at(1.min(step.statements.len()));
        let mut transaction = begin(client, step, timeout.as_millis().max(1))?;
        let fail = |error| failed(step, error);
        transaction.batch_execute(&joined(locks)).map_err(fail)?;
        before(&mut transaction)?;
        transaction.batch_execute(&joined(rest)).map_err(fail)?;
        after(&mut transaction)?;
        reach("execute::before_commit");
        transaction.commit().map_err(fail)
    })?;
    reach("execute::after_step");
    progress.done(step);
    Ok(())
}

/// Runs the steps in order, each until it succeeds or its budget is used up.
pub fn execute(
    locked: &mut Locked,
    steps: &[RenderedStep],
    limits: LockLimits,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<()> {
    for step in steps {
        interrupt.check()?;
        progress.begin(step);
        reach("execute::before_step");
        climb(locked.client(), step, limits, interrupt, progress)?;
        reach("execute::after_step");
        progress.done(step);
    }
    Ok(())
}

/// The longest try for a lock that writers queue up behind, or everybody: they wait no longer than
/// this, however long the holder takes.
const WRITERS_TRY: Duration = Duration::from_millis(50);

impl LockLimits {
    /// The limits for a step with these locks.
    fn for_step(self, step: &RenderedStep) -> Self {
        let mut locks = step.statements.iter().flat_map(|statement| &statement.locks);
        let keeps_writers_out = locks.any(|lock| lock.mode >= LockMode::Share);
        // What a file locks is the user's own business.
        let of_file = step.migration.as_ref().is_some_and(|migration| migration.file.is_some());
        if !keeps_writers_out || of_file {
            return self;
        }
        let capped = |timeout: Duration| timeout.min(WRITERS_TRY);
        Self { first: capped(self.first), longest: capped(self.longest), ..self }
    }
}

/// The ladder: short tries, each a little longer, with pauses of random length between them so
/// that the queue behind the lock drains.
fn climb(
    client: &mut Client,
    step: &RenderedStep,
    limits: LockLimits,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<()> {
    climb_with(client, step, limits, interrupt, progress, &mut |client, timeout| {
        attempt(client, step, timeout)
    })
}

fn climb_with(
    client: &mut Client,
    step: &RenderedStep,
    limits: LockLimits,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
    attempt: &mut dyn FnMut(&mut Client, Duration) -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    let limits = limits.for_step(step);
    // What runs outside of a transaction is not tried in turns: it waits behind others without
    // keeping anybody waiting, and half an index would be left of every try.
    let alone = step.migration.is_some() && step.transaction == Within::Forbidden;
    let mut timeout = if alone { limits.budget } else { limits.first };
    loop {
        interrupt.check()?;
        let error = match attempt(client, timeout) {
            Ok(()) => return Ok(()),
            Err(error) => {
                // The signal cancelled the statement: that is the reason, not the cancellation.
                interrupt.check()?;
                error
            }
        };
        if !error.is_lock_failure() {
            return Err(error);
        }
        if step.transaction == Within::Concurrent {
            // The statement cannot be repeated as it is: it left half of its work.
            return Err(left_half_done(step, error));
        }
        let blockers = blockers::find(client, &locks(step))?;
        if start.elapsed() + timeout >= limits.budget {
            return Err(exhausted(step, limits, &blockers, error));
        }
        progress.blocked(step, &blockers);
        std::thread::sleep(jitter(timeout));
        timeout = (timeout * 2).min(limits.longest);
    }
}

fn attempt(client: &mut Client, step: &RenderedStep, timeout: Duration) -> Result<()> {
    let waits = step.transaction == Within::Concurrent;
    let milliseconds = if waits { 0 } else { timeout.as_millis().max(1) };
    if let Some(migration) = &step.migration {
        // refinery opens the transaction, so the setting is the session's until it is done.
        set(client, &format!("SET lock_timeout = {milliseconds}"))?;
        let outcome = migration::apply(client, migration);
        return outcome.and(reset(client));
    }
    match step.transaction {
        Within::Required => transact(client, step, milliseconds),
        Within::Forbidden | Within::Concurrent => {
            set(client, &format!("SET lock_timeout = {milliseconds}"))?;
            let outcome = step.statements.iter().try_for_each(|statement| {
                client.batch_execute(&statement.sql).map_err(|error| failed(step, error))
            });
            outcome.and(reset(client))
        }
    }
}

fn begin<'a>(
    client: &'a mut Client,
    step: &RenderedStep,
    milliseconds: u128,
) -> Result<Transaction<'a>> {
    let mut transaction = client.transaction().map_err(|error| failed(step, error))?;
    transaction
        .batch_execute(&format!("SET LOCAL lock_timeout = {milliseconds}"))
        .map_err(|error| failed(step, error))?;
    Ok(transaction)
}

fn transact(client: &mut Client, step: &RenderedStep, milliseconds: u128) -> Result<()> {
    let mut transaction = begin(client, step, milliseconds)?;
    let statements = joined(&step.statements);
    transaction.batch_execute(&statements).map_err(|error| failed(step, error))?;
    reach("execute::before_commit");
    transaction.commit().map_err(|error| failed(step, error))
}

/// Of a session that ended nothing is left to reset: how the statement ended is what matters.
fn reset(client: &mut Client) -> Result<()> {
    if client.is_closed() { Ok(()) } else { set(client, "RESET lock_timeout") }
}

fn set(client: &mut Client, setting: &str) -> Result<()> {
    client.batch_execute(setting).map_err(|error| Error::database("setting lock_timeout", error))
}

fn failed(step: &RenderedStep, error: postgres::Error) -> Error {
    let error = Error::database(&format!("running the step \"{}\"", step.title), error);
    // check_violation: attaching makes room beside a DEFAULT partition only where it is empty.
    if error.sqlstate() == Some("23514") {
        return error.hint(
            "a DEFAULT partition has rows that belong there: move them, pupctl partitions drain",
        );
    }
    if error.kind() != Kind::Connection {
        return error;
    }
    // Whether the server's last words arrive before the end of the connection is a matter of luck.
    Error::new(Kind::Connection, format!("the session ended during the step \"{}\"", step.title))
        .detail(error.message())
        .hint("run the command again: it finds out what was done")
        .because(error)
}

fn locks(step: &RenderedStep) -> Vec<Lock> {
    let mut locks: Vec<Lock> = Vec::new();
    for lock in step.statements.iter().flat_map(|statement| &statement.locks) {
        if !locks.contains(lock) {
            locks.push(lock.clone());
        }
    }
    locks
}

fn left_half_done(step: &RenderedStep, cause: Error) -> Error {
    let message = format!("the step \"{}\" gave way to another session", step.title);
    Error::new(Kind::LockTimeout, message)
        .detail(cause.message())
        .details(place(step, &cause))
        .hint("run the command again: it drops what was left half done and goes on")
        .because(cause)
}

/// Where in a file the statement stands that did not get its locks.
fn place(step: &RenderedStep, cause: &Error) -> Vec<String> {
    let is_file = step.migration.as_ref().is_some_and(|migration| migration.file.is_some());
    if is_file { cause.detail_lines().to_vec() } else { Vec::new() }
}

fn exhausted(step: &RenderedStep, limits: LockLimits, blockers: &[Blocker], cause: Error) -> Error {
    let message = format!(
        "the step \"{}\" did not get its locks within {}",
        step.title,
        humantime::format_duration(limits.budget)
    );
    let what = if step.transaction == Within::Required {
        "nothing of this step was changed"
    } else {
        "the next run looks up what the statement left"
    };
    // Who holds the locks of a file is only seen while it waits for them.
    let who = if blockers.is_empty() { "whoever holds the locks is" } else { "these sessions are" };
    Error::new(Kind::LockTimeout, message)
        .details(place(step, &cause))
        .details(blockers.iter().map(ToString::to_string))
        .hint(format!(
            "{what}: run the command again when {who} done, or give it more time with \
             --lock-budget"
        ))
        .because(cause)
}

/// Between half of a duration and one and a half of it.
fn jitter(around: Duration) -> Duration {
    // The standard library's hasher is seeded at random: enough to keep two processes apart.
    let random = RandomState::new().build_hasher().finish() % 1000;
    around / 2 + around * u32::try_from(random).unwrap_or(0) / 1000
}
