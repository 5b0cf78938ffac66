//! One transaction that changes projections, under the locks of their rows.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::{Client, IsolationLevel, Transaction};

use crate::db::watch::Watch;
use crate::db::{Interrupt, blockers};
use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};
use crate::render::{Lock, LockMode, RenderedStep, Statement};

/// How long rows are waited for before somebody looks who has them.
const FIRST_TRY: Duration = Duration::from_millis(300);

/// The longest try for a lock behind which everybody queues up.
const SHORT_TRY: Duration = Duration::from_millis(50);

/// How long statements under the locks wait for others.
const REST: &str = "1s";

/// How often the rows may be others by the time they are locked.
const TURNS_MAX: usize = 20;

/// What is to be done, as a step whose first statement takes the locks.
#[derive(Debug, Clone)]
pub struct Change {
    /// The statements.
    pub step: RenderedStep,
    /// The rows that the first statement has to lock for it, by their keys.
    pub rows: Vec<String>,
    /// The projections that it changes.
    pub names: Vec<String>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Finds out what is to be done; none where nothing is. It is asked once to show it, and again
/// under the locks, since the rows may be others by then.
pub type Planner<'a> = &'a mut dyn FnMut(&mut Transaction<'_>) -> Result<Option<Change>>;

/// What comes before the statements.
pub(in crate::projection) type First<'a> = &'a mut dyn FnMut(&mut Transaction<'_>) -> Result<()>;

/// Makes a session that looks whom another one waits for; none where that cannot be had.
pub type Look<'a> = &'a mut dyn FnMut() -> Option<Client>;

/// Is told for whom is waited, also by another thread.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// How to wait for running batches.
pub struct Waiting<'a> {
    /// How long.
    pub patience: Duration,
    /// Ends it.
    pub interrupt: &'a Interrupt,
    /// Called when it takes longer.
    pub look: Look<'a>,
    /// Is told whose batches they are.
    pub tell: Tell,
}

impl fmt::Debug for Waiting<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Waiting").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// What would be done: nothing is written, nobody waits.
pub fn preview(client: &mut Client, plan: Planner<'_>) -> Result<Option<Change>> {
    let mut transaction = begin(client)?;
    let change = plan(&mut transaction)?;
    transaction.rollback().map_err(failed)?;
    Ok(change)
}

/// Does it, in one transaction. None where there was nothing to do.
pub fn run(
    client: &mut Client,
    waiting: &mut Waiting<'_>,
    plan: Planner<'_>,
) -> Result<Option<Change>> {
    run_after(client, waiting, plan, &mut |_| Ok(()))
}

/// The same with something to do before the statements, under the locks of the rows.
pub(in crate::projection) fn run_after(
    client: &mut Client,
    waiting: &mut Waiting<'_>,
    plan: Planner<'_>,
    first: First<'_>,
) -> Result<Option<Change>> {
    let start = Instant::now();
    let mut watch: Option<Watch> = None;
    loop {
        waiting.interrupt.check()?;
        let left = waiting.patience.saturating_sub(start.elapsed());
        let timeout = if watch.is_none() { FIRST_TRY.min(left) } else { left.max(FIRST_TRY) };
        let error = match attempt(client, waiting, timeout, plan, first) {
            Ok(done) => return Ok(done),
            // The signal cancelled the statement: that is the reason, not the cancellation.
            Err(error) => waiting.interrupt.explain(error),
        };
        if !is_timeout(&error) {
            return Err(error);
        }
        if let Some(watch) = &watch
            && start.elapsed() >= waiting.patience
        {
            return Err(gave_up(waiting.patience, watch.seen(), error));
        }
        if watch.is_none() {
            let tell = Arc::clone(&waiting.tell);
            watch = match (waiting.look)() {
                Some(session) => Some(Watch::begin(client, session, move |words| tell(words))?),
                None if start.elapsed() >= waiting.patience => {
                    return Err(gave_up(waiting.patience, Vec::new(), error));
                }
                None => None,
            };
        }
    }
}

fn begin(client: &mut Client) -> Result<Transaction<'_>> {
    // Each statement has to see what was committed before it.
    let level = IsolationLevel::ReadCommitted;
    let mut transaction =
        client.build_transaction().isolation_level(level).start().map_err(failed)?;
    // It is the patience that counts, whatever the role's settings say.
    limit(&mut transaction, REST, "0")?;
    Ok(transaction)
}

fn attempt(
    client: &mut Client,
    waiting: &mut Waiting<'_>,
    timeout: Duration,
    plan: Planner<'_>,
    first: First<'_>,
) -> Result<Option<Change>> {
    let mut transaction = begin(client)?;
    let Some(mut change) = plan(&mut transaction)? else { return Ok(None) };
    for _ in 0..TURNS_MAX {
        let locked = lock(&mut transaction, &change, timeout)?;
        // In a statement after that: what the rows say now nobody changes any more.
        let Some(now) = plan(&mut transaction)? else { return Ok(None) };
        let is_whole = now.rows.iter().all(|row| locked.contains(row))
            && (!now.rows.is_empty() || now.step.statements[..1] == change.step.statements[..1]);
        if !is_whole {
            change = now;
            continue;
        }
        first(&mut transaction)?;
        for statement in now.step.statements.iter().skip(1) {
            execute(&mut transaction, waiting, statement)?;
        }
        reach("projections::before_commit");
        transaction.commit().map_err(failed)?;
        return Ok(Some(now));
    }
    Err(Error::refused("the rows of the projection change all the time")
        .hint("run it again when nobody else changes its slots"))
}

/// The first statement; gives back the rows that it locked.
fn lock(
    transaction: &mut Transaction<'_>,
    change: &Change,
    timeout: Duration,
) -> Result<BTreeSet<String>> {
    let Some(statement) = change.step.statements.first() else { return Ok(BTreeSet::new()) };
    // The first for each lock, the second for all of them.
    let milliseconds = timeout.as_millis().max(1).to_string();
    limit(transaction, &milliseconds, &milliseconds)?;
    let rows = transaction.query(&statement.sql, &[]).map_err(failed)?;
    limit(transaction, REST, "0")?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}

fn limit(transaction: &mut Transaction<'_>, locks: &str, statement: &str) -> Result<()> {
    transaction
        .query_one(include_str!("../../../sql/projection/limits.sql"), &[&locks, &statement])
        .map_err(failed)?;
    Ok(())
}

fn execute(
    transaction: &mut Transaction<'_>,
    waiting: &Waiting<'_>,
    statement: &Statement,
) -> Result<()> {
    let is_exclusive = |lock: &Lock| lock.mode == LockMode::AccessExclusive;
    if !statement.locks.iter().any(is_exclusive) {
        return transaction.batch_execute(&statement.sql).map_err(failed);
    }
    let start = Instant::now();
    let mut told = false;
    loop {
        waiting.interrupt.check()?;
        let error = match short_try(transaction, &statement.sql) {
            Ok(()) => return Ok(()),
            Err(error) => waiting.interrupt.explain(error),
        };
        if !is_timeout(&error) {
            return Err(error);
        }
        let found = blockers::find(transaction, &statement.locks)?;
        if start.elapsed() >= waiting.patience {
            let lines = found.iter().map(ToString::to_string).collect();
            return Err(gave_up(waiting.patience, lines, error));
        }
        if !told && !found.is_empty() {
            told = true;
            for blocker in &found {
                (waiting.tell)(&format!("Waiting for {blocker}"));
            }
        }
        std::thread::sleep(2 * SHORT_TRY);
    }
}

/// In a savepoint, so that the rows stay locked when it fails.
fn short_try(transaction: &mut Transaction<'_>, sql: &str) -> Result<()> {
    let mut savepoint = transaction.transaction().map_err(failed)?;
    limit(&mut savepoint, &SHORT_TRY.as_millis().to_string(), "0")?;
    savepoint.batch_execute(sql).map_err(failed)?;
    limit(&mut savepoint, REST, "0")?;
    savepoint.commit().map_err(failed)
}

fn failed(error: postgres::Error) -> Error {
    let error = Error::database("changing the checkpoints", error);
    // dependent_objects_still_exist: CASCADE, which the server proposes, is not for pupctl to say.
    match error.sqlstate() {
        Some("2BP01") => error.hint("drop what depends on the tables first, or drop them yourself"),
        _ => error,
    }
}

/// `lock_not_available`, `deadlock_detected`, and the timeout of a whole statement.
fn is_timeout(error: &Error) -> bool {
    matches!(error.sqlstate(), Some("55P03" | "40P01" | "57014"))
}

fn gave_up(patience: Duration, holders: Vec<String>, cause: Error) -> Error {
    let message = format!(
        "others held what is needed for {}, so nothing was changed",
        humantime::format_duration(patience)
    );
    Error::new(Kind::LockTimeout, message)
        .details(holders)
        .hint("run it again when they are done, or wait longer with --patience")
        .because(cause)
}

/// The statement that waits for running batches, and keeps others out until the end.
pub(in crate::projection) fn lock_rows(checkpoints: &QualifiedName, rows: &[String]) -> Statement {
    Statement {
        sql: render("projection/control/lock_rows", &values! { checkpoints, rows }),
        why: "Wait for running batches: whoever works on a slot holds its row".to_owned(),
        locks: vec![Lock { mode: LockMode::RowShare, on: checkpoints.clone() }],
    }
}

/// A statement that changes rows of a table.
pub(in crate::projection) fn writing(sql: String, why: &str, on: &QualifiedName) -> Statement {
    let locks = vec![Lock { mode: LockMode::RowExclusive, on: on.clone() }];
    Statement { sql, why: why.to_owned(), locks }
}
