//! Folding the events into the tables of the shadow: by workers, and the rest in the swap itself.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, Transaction};

use crate::db::Interrupt;
use crate::error::{Error, Kind, Result};
use crate::projection::batch::{Care, Work};
use crate::projection::checkpoint::Division;
use crate::projection::config::{ErrorPolicy, ProcessorConfig};
use crate::projection::connect::Connect;
use crate::projection::control::row;
use crate::projection::failure::Failure;
use crate::projection::report::Report;
use crate::projection::runner::Runner;
use crate::projection::sql::SqlSession;
use crate::projection::sql::setup::Change;
use crate::projection::worker::{Handling, label};
use crate::projection::{ServerHash, runner};

use super::shadow::Shadow;
use super::{Progress, called_off};

/// How often the progress is told.
const TICK: Duration = Duration::from_millis(100);

/// How often it is looked whether the rebuild was called off.
const LOOK: Duration = Duration::from_secs(1);

/// How many events a batch has at first, and at least a part of that.
const BATCH: usize = 2_000;

/// What workers fold with.
pub(super) fn config(shadow: &Shadow, on_error: ErrorPolicy) -> ProcessorConfig {
    ProcessorConfig::default()
        .schema(&shadow.tables.events.schema)
        .batch_size(BATCH)
        .adaptive()
        .on_error(on_error)
}

/// Folds until everything is folded that was there when it began.
pub(super) fn catch_up(
    client: &mut Client,
    connect: &Arc<dyn Connect>,
    shadow: &Shadow,
    (workers, on_error): (usize, ErrorPolicy),
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<Report> {
    let mut runner = Runner::sharing(Arc::clone(connect));
    let projection = shadow.projection.clone();
    runner.add_sql(projection, config(shadow, on_error), workers, Change::Follow)?;
    let (stopper, watch) = (runner.stopper(), runner.watch());
    let outcome = thread::scope(|scope| {
        let work = scope.spawn(|| runner.run_until_caught_up());
        let attended = attend(client, shadow, &watch, interrupt, progress, &|| work.is_finished());
        if attended.is_err() {
            stopper.raise();
        }
        let worked = work
            .join()
            .unwrap_or_else(|_| Err(Error::new(Kind::System, "a thread of the rebuild panicked")));
        attended.and(worked)
    });
    interrupt.check()?;
    match outcome {
        Ok(reports) => {
            reports.into_iter().next().ok_or_else(|| Error::refused("the rebuild did nothing"))
        }
        Err(error) if error.kind() == Kind::Refused && !is_there(client, shadow)? => {
            Err(called_off(shadow.live.name()))
        }
        Err(error) => Err(error),
    }
}

/// Tells how far it is, until it is done, or is to stop.
fn attend(
    client: &mut Client,
    shadow: &Shadow,
    watch: &runner::Watch,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
    is_done: &dyn Fn() -> bool,
) -> Result<()> {
    let mut looked = Instant::now();
    while !is_done() {
        thread::sleep(TICK);
        interrupt.check()?;
        if let (Some(report), Some(settled)) = (watch.reports().first(), watch.settled()) {
            progress.folded(report.position, settled, report.events);
        }
        // It also shows whether this session is there, which holds the lock of the rebuild.
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if !is_there(client, shadow).map_err(|error| interrupt.explain(error))? {
                return Err(called_off(shadow.live.name()));
            }
        }
    }
    Ok(())
}

/// Whether nobody called it off.
pub(super) fn is_there(client: &mut Client, shadow: &Shadow) -> Result<bool> {
    Ok(row::read(client, &shadow.tables.checkpoints, shadow.name())?.is_some())
}

/// Folds the rest up to a position, in a transaction that holds the rows of all slots.
pub(super) fn rest(
    transaction: &mut Transaction<'_>,
    shadow: &Shadow,
    session: &Arc<SqlSession>,
    position: i64,
    interrupt: &Interrupt,
) -> Result<u64> {
    let checkpoints = &shadow.tables.checkpoints;
    let name = shadow.live.name();
    let Some(group) = row::read(transaction, checkpoints, shadow.name())? else {
        return Err(called_off(name));
    };
    let handling =
        Handling { projection: Arc::clone(session) as _, sql: Some(Arc::clone(session)) };
    let division = Division { slots: group.slots, strategy: Arc::new(ServerHash), position: 0 };
    let mut work = Work::prepare(
        transaction,
        handling,
        shadow.projection.scope(),
        config(shadow, ErrorPolicy::Stop),
        shadow.tables.clone(),
        division,
        label(),
    )
    .map_err(error_of)?;
    let share = i64::from(group.slots);
    let mut events = 0;
    loop {
        interrupt.check()?;
        let empty = include_str!("../../../sql/projection/sql/empty_batch.sql");
        transaction.batch_execute(empty).map_err(failed)?;
        let savepoint = transaction.transaction().map_err(failed)?;
        let batch = work.batch_in(savepoint, position, share, Care::None, interrupt);
        let Some(batch) = batch.map_err(error_of)? else { break };
        events += batch.events as u64;
    }
    let group = row::read(transaction, checkpoints, shadow.name())?;
    let behind = group.is_none_or(|group| group.rows.iter().any(|row| row.position < position));
    if behind {
        return Err(Error::refused(format!("the rebuild of {name} does not move: is it paused?"))
            .hint(format!(
                "let it go on: pupctl projections resume {}",
                crate::render::quote::shell_word(shadow.name())
            )));
    }
    Ok(events)
}

fn error_of(failure: Failure) -> Error {
    match failure {
        Failure::Transient(error) | Failure::Refused(error) | Failure::Fatal(error) => error,
    }
}

fn failed(error: postgres::Error) -> Error {
    Error::database("folding the rest of the events", error)
}
