//! Waits until the workers have brought all slots to their barrier, and says why one does not move.

use std::time::{Duration, Instant};

use postgres::Client;
use serde::Serialize;

use super::{Plan, Request};
use crate::db::Interrupt;
use crate::error::{Error, Result};
use crate::projection::application_name;
use crate::projection::control::row::{self, Group, SlotRow};
use crate::render::quote::shell_word;

/// How often the rows are looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// How far the slots are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// How many slots are behind their barrier.
    pub slots: usize,
    /// How many positions they have to go, all together.
    pub positions: i64,
}

/// Waits until no slot is behind, or the rows were changed by somebody: the caller looks under the
/// locks.
pub(super) fn until_drained(
    client: &mut Client,
    request: &Request<'_>,
    plan: &Plan,
    deadline: Instant,
    interrupt: &Interrupt,
    on_wait: &mut dyn FnMut(&Waiting),
) -> Result<()> {
    loop {
        interrupt.check()?;
        let group = row::read(client, request.checkpoints, request.projection)?;
        let Some(group) = group.filter(|group| group.epoch == plan.before.epoch) else {
            return Ok(());
        };
        // Somebody took the barrier away, or another one is in place.
        if group.barriers() != plan.barriers() {
            return refuse_gone(request.projection, &group);
        }
        let behind: Vec<&SlotRow> = group.rows.iter().filter(|row| left(row) > 0).collect();
        if behind.is_empty() {
            return Ok(());
        }
        on_wait(&Waiting {
            slots: behind.len(),
            positions: behind.iter().map(|row| left(row)).sum(),
        });
        let now = Instant::now();
        if now >= deadline {
            return Err(stuck(client, request, plan, &behind)?);
        }
        std::thread::sleep(INTERVAL.min(deadline - now));
    }
}

fn left(row: &SlotRow) -> i64 {
    row.drain_to.map_or(0, |to| to.saturating_sub(row.position))
}

fn refuse_gone(projection: &str, group: &Group) -> Result<()> {
    if group.barriers().iter().any(Option::is_some) {
        // The next look under the locks says whose it is.
        return Ok(());
    }
    Err(Error::refused(format!(
        "somebody called this rescale of the projection {projection} off: its barrier is gone"
    ))
    .hint("run the command again if this is still what you want"))
}

/// Which slots did not arrive in time, and what keeps them.
fn stuck(
    client: &mut Client,
    request: &Request<'_>,
    plan: &Plan,
    behind: &[&SlotRow],
) -> Result<Error> {
    let projection = request.projection;
    let workers = workers(client, projection)?;
    let began = |row: &SlotRow| {
        plan.before.rows.iter().find(|other| other.slot == row.slot).map_or(0, |row| row.position)
    };
    let lines = behind.iter().map(|row| {
        let (name, position, left) = (&row.name, row.position, left(row));
        let why = why(row, position - began(row), workers.len());
        format!("{name} is at {position}, {left} positions before the barrier: {why}")
    });
    let mut error = Error::refused(format!(
        "the projection {projection} was not at its barrier in time: {} to go",
        if behind.len() == 1 {
            "1 slot has".to_owned()
        } else {
            format!("{} slots have", behind.len())
        }
    ))
    .details(lines);
    if !workers.is_empty() {
        let pids: Vec<_> = workers.iter().map(ToString::to_string).collect();
        error = error.detail(format!("its workers are the processes {}", pids.join(", ")));
    }
    let todo = if behind.iter().any(|row| row.paused_at.is_some()) {
        format!("resume it: pupctl projections resume {}; then run", shell_word(projection))
    } else if workers.is_empty() {
        "start its workers, and run".to_owned()
    } else if behind.iter().any(|row| row.last_error.is_some()) {
        "mend what fails, and run".to_owned()
    } else {
        "give it more time with --patience: run".to_owned()
    };
    let abort = super::abort_command(projection);
    Ok(error.hint(format!(
        "{todo} the same command again: the barrier stays in place, and it goes on; or call it \
         off: {abort}"
    )))
}

fn why(row: &SlotRow, moved: i64, workers: usize) -> String {
    if let Some(since) = row.paused_at {
        return format!("it is paused since {}", since.format("%F %T UTC"));
    }
    if let Some(error) = &row.last_error {
        let first = error.lines().next().unwrap_or_default();
        return match row.failed_position {
            Some(position) => format!("its last batch failed at position {position}: {first}"),
            None => format!("its last batch failed: {first}"),
        };
    }
    if workers == 0 {
        return "no worker is connected".to_owned();
    }
    if moved > 0 {
        return format!("it moves, {moved} positions since the barrier was set");
    }
    match &row.worker {
        Some(worker) => format!("it does not move; {worker} worked on it last"),
        None => "it does not move; nobody has worked on it yet".to_owned(),
    }
}

/// The processes on the server of the workers that are connected.
fn workers(client: &mut Client, projection: &str) -> Result<Vec<i32>> {
    let failed = |error| Error::database("looking for the workers of the projection", error);
    let sql = include_str!("../../../../sql/projection/connected.sql");
    let rows = client.query(sql, &[&application_name(projection)]).map_err(failed)?;
    rows.iter().map(|row| row.try_get("pid").map_err(failed)).collect()
}
