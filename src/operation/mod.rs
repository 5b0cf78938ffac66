//! Runs of pupctl that write: the script is executed, and the journal says so.

pub mod abort;
pub mod archive;
pub mod archives;
pub mod convert;
pub mod journal;
pub mod restore;
pub mod transfer;

use postgres::Client;

use crate::catalog::Catalog;
use crate::db::execute::{self, LockLimits, Progress};
use crate::db::interrupt::is_cancelled;
use crate::db::{Interrupt, Locked};
use crate::error::{Kind, Result};
use crate::plan::MigrationSet;
use crate::render::Script;
use crate::render::tables::history_table;

/// What is run again and again by a clock, and mostly has nothing to do.
const JOBS: [&str; 3] = ["partitions ensure", "partitions close", "archive"];

/// Executes a script under the lock of the store, and keeps the journal: one row a run, with how
/// it ended.
pub fn run(
    locked: &mut Locked,
    command: &str,
    script: &Script,
    limits: LockLimits,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<()> {
    run_with(locked, command, script, limits, interrupt, progress, |_, _| Ok(()))
}

/// The same for a run that has more to do than DDL: `work` follows the script, in the same row
/// of the journal, whose number it gets.
pub fn run_with<T>(
    locked: &mut Locked,
    command: &str,
    script: &Script,
    limits: LockLimits,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
    work: impl FnOnce(&mut Locked, i64) -> Result<T>,
) -> Result<T> {
    // The journal is one of pupctl's own tables, so the steps that make them come first.
    let own_history = history_table(locked.schema(), MigrationSet::Own);
    let makes_own_tables = |step: &crate::render::RenderedStep| {
        step.migration.as_ref().is_some_and(|migration| migration.history == own_history)
    };
    let bootstrap =
        script.steps.iter().rposition(makes_own_tables).map_or(0, |position| position + 1);
    let (bootstrap, steps) = script.steps.split_at(bootstrap);
    execute::execute(locked, bootstrap, limits, interrupt, progress)?;

    let operation = journal::start(locked, command)?;
    let outcome = execute::execute(locked, steps, limits, interrupt, progress)
        .and_then(|()| work(locked, operation));
    let gone = outcome.as_ref().is_err_and(|error| error.kind() == Kind::Connection);
    if gone || locked.client().is_closed() {
        // Nobody is left to write to; the next run marks the row.
        return outcome;
    }
    let failure = outcome.as_ref().err();
    let ended = match journal::end(locked, operation, failure) {
        // The signal came late, and cancelled this statement instead of the one it was meant for.
        Err(error) if is_cancelled(&error) => journal::end(locked, operation, failure),
        ended => ended,
    };
    // What failed first is the one to tell.
    outcome.and_then(|done| ended.map(|()| done))
}

/// An operation that works beside others, for hours maybe: not under the lock of the store, but
/// under one of its own, which the session has to hold already and the state names as `lock`. The
/// row of the journal is as of any other run; `work` gets its number.
pub fn run_beside<T>(
    client: &mut Client,
    schema: &str,
    command: &str,
    state: &serde_json::Value,
    work: impl FnOnce(&mut Client, i64) -> Result<T>,
) -> Result<T> {
    let operation = journal::start_beside(client, schema, command, state)?;
    let outcome = work(client, operation);
    if client.is_closed() {
        // Nobody is left to write to; the next run marks the row.
        return outcome;
    }
    let failure = outcome.as_ref().err();
    let ended = match journal::end_row(client, schema, operation, failure) {
        Err(error) if is_cancelled(&error) => journal::end_row(client, schema, operation, failure),
        ended => ended,
    };
    outcome.and_then(|done| ended.map(|()| done))
}

/// What a run that finds nothing to do leaves in order: the row of an earlier one that had done
/// everything, and died before it could say so; and the time of a job, for those who watch whether
/// it runs at all. `request` is what it was asked for, where the journal has that.
pub fn settle(
    locked: &mut Locked,
    catalog: &Catalog,
    command: &str,
    request: Option<&[String]>,
) -> Result<()> {
    let own = catalog.own_migrations.iter().map(|migration| migration.version).max();
    let Some(own) = own else { return Ok(()) };
    let settled = journal::end_interrupted(locked).and_then(|()| {
        let is_job = JOBS.contains(&command) && own >= 2;
        if is_job { journal::confirm(locked, command, request) } else { Ok(()) }
    });
    match settled {
        // insufficient_privilege: whoever may only look has nothing to put in order.
        Err(error) if error.sqlstate() == Some("42501") => Ok(()),
        outcome => outcome,
    }
}
