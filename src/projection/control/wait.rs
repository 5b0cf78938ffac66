//! Waits until projections have reached a position: the gate of a deployment.

use std::str::FromStr;
use std::time::{Duration, Instant};

use postgres::Client;
use serde::Serialize;

use crate::db::Interrupt;
use crate::error::{Error, Result};
use crate::render::quote::shell_word;

use super::checkpoint::{self, Checkpoint, Projection};
use super::{Tables, checkpoints_ready, head};

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(200);

/// How many rows a refusal lists.
const LISTED_MAX: usize = 20;

/// Up to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// This position.
    Position(i64),
    /// The last one that was drawn when the wait began.
    Head,
}

impl FromStr for Goal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.parse::<i64>()) {
            ("head", _) => Ok(Self::Head),
            (_, Ok(position)) if position >= 0 => Ok(Self::Position(position)),
            _ => Err(Error::invalid(format!("{text:?} is no position"))
                .hint("write head, or the number of a position")),
        }
    }
}

/// How a wait went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// The position.
    pub position: i64,
    /// Which projections have reached it.
    pub projections: Vec<String>,
}

/// Told how far the last row is: its key, where it is, and where it goes.
pub type Progress<'a> = &'a mut dyn FnMut(&str, i64, i64);

/// Waits until every slot of a projection has reached the goal: of all that are not paused, where
/// none is named. One that is named and not there yet may come: its worker has just begun.
pub fn wait(
    client: &mut Client,
    tables: &Tables,
    name: Option<&str>,
    goal: Goal,
    timeout: Duration,
    interrupt: &Interrupt,
    progress: Progress<'_>,
) -> Result<Reached> {
    checkpoints_ready(client, &tables.checkpoints)?;
    let start = Instant::now();
    let position = match goal {
        Goal::Position(position) => position,
        Goal::Head => head::look(client, &tables.events, interrupt)?.position,
    };
    loop {
        interrupt.check()?;
        let rows = checkpoint::read(client, &tables.checkpoints, true)
            .map_err(|error| interrupt.explain(error))?;
        let all = checkpoint::projections(rows);
        let meant: Vec<_> = all.iter().filter(|one| is_meant(one, name)).collect();
        let mut behind: Vec<_> = meant
            .iter()
            .flat_map(|projection| &projection.checkpoints)
            .filter(|row| row.position < position)
            .collect();
        let is_there = !meant.is_empty() || name.is_none();
        if is_there && behind.is_empty() && meant.iter().all(|one| one.problem().is_none()) {
            let projections = meant.iter().map(|projection| projection.name.clone()).collect();
            return Ok(Reached { position, projections });
        }
        refuse_paused(&meant, &behind, position)?;
        behind.sort_by_key(|row| row.position);
        if let Some(last) = behind.first() {
            progress(&last.row, last.position, position);
        }
        let left = timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(match name.filter(|_| !is_there) {
                Some(name) => checkpoint::unknown(name, &all),
                None => late(client, tables, &meant, &behind, position, timeout, interrupt)?,
            });
        }
        std::thread::sleep(INTERVAL.min(left));
    }
}

fn is_meant(projection: &Projection, name: Option<&str>) -> bool {
    match name {
        Some(name) => {
            projection.name == name
                || projection.checkpoints.iter().any(|row| checkpoint::is_foreign_row_of(row, name))
        }
        None => !projection.is_foreign() && !projection.is_paused(),
    }
}

/// Nobody works on it, so waiting is no use.
fn refuse_paused(meant: &[&Projection], behind: &[&Checkpoint], position: i64) -> Result<()> {
    let Some(paused) = meant.iter().find(|projection| projection.is_paused()) else {
        return Ok(());
    };
    if behind.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{} is paused at position {}, before {position}",
        paused.name,
        paused.position()
    ))
    .hint(format!("let it go on: pupctl projections resume {}", shell_word(&paused.name))))
}

/// Who is where, and why.
fn late(
    client: &mut Client,
    tables: &Tables,
    meant: &[&Projection],
    behind: &[&Checkpoint],
    position: i64,
    timeout: Duration,
    interrupt: &Interrupt,
) -> Result<Error> {
    let head = head::look(client, &tables.events, interrupt)?;
    let mut lines: Vec<_> = behind.iter().take(LISTED_MAX).map(|row| words(row)).collect();
    if behind.len() > LISTED_MAX {
        lines.push(format!("and {} more", behind.len() - LISTED_MAX));
    }
    let problem = |one: &&Projection| Some(format!("{}: {}", one.name, one.problem()?));
    lines.extend(meant.iter().filter_map(problem));
    if head.position < position {
        lines.push(format!("the last position of the store is {}", head.position));
    }
    lines.extend(head.held_by.iter().map(|holder| format!("not settled: {holder}")));
    let noun = if behind.len() == 1 { "checkpoint has" } else { "checkpoints have" };
    Ok(Error::refused(format!(
        "{} {noun} not reached position {position} within {}",
        behind.len(),
        humantime::format_duration(timeout)
    ))
    .details(lines)
    .hint("see who works on them: pupctl projections status; or wait longer with --timeout"))
}

fn words(row: &Checkpoint) -> String {
    let error = row.slot.as_ref().and_then(|slot| slot.last_error.as_ref());
    match error {
        Some(error) => format!("{} is at {}, and fails: {error}", row.row, row.position),
        None => format!("{} is at {}", row.row, row.position),
    }
}
