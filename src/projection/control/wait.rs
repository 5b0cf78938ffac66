//! Waits until projections have reached a position: the gate of a deployment.

use std::str::FromStr;
use std::time::{Duration, Instant};

use postgres::{Client, Row};
use serde::Serialize;

use crate::db::Interrupt;
use crate::error::{Error, Result};
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;

use super::checkpoint::{self, Checkpoint, Projection, failures};
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

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish<'a> {
    /// One projection; none for all that are not paused.
    pub name: Option<&'a str>,
    /// Up to where.
    pub goal: Goal,
    /// How long.
    pub timeout: Duration,
    /// Whether events may be among the dead letters.
    pub ignore_dead_letters: bool,
}

/// How a wait went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// The position.
    pub position: i64,
    /// Which projections have reached it.
    pub projections: Vec<String>,
    /// Which were not waited for.
    pub left_out: Vec<LeftOut>,
    /// Barriers that are in place: nobody gets beyond them.
    pub barriers: Vec<Barrier>,
    /// Events up to the position that are not handled after all, and do not matter.
    pub dead_letters: Vec<Unhandled>,
}

/// A projection that was not waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// `paused` or `foreign`.
    pub why: &'static str,
}

/// The barrier of a rescale that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Barrier {
    /// The projection.
    pub name: String,
    /// Up to where it goes.
    pub drain_to: i64,
}

impl Barrier {
    /// In one line, with the way out.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { name, drain_to } = self;
        format!(
            "the slots of {name} are being changed and stop at position {drain_to}: finish that \
             rescale, or call it off: pupctl projections rescale {} --abort",
            shell_word(name)
        )
    }
}

/// Dead letters of a projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unhandled {
    /// Its name.
    pub name: String,
    /// How many failed or wait.
    pub letters: i64,
    /// The first of their positions.
    pub first_position: i64,
}

/// Told how far the last row is: its key, where it is, and where it goes.
pub type Progress<'a> = &'a mut dyn FnMut(&str, i64, i64);

/// Waits until every slot of a projection has reached the goal: of all that are not paused, where
/// none is named. One that is named and not there yet may come: its worker has just begun.
pub fn wait(
    client: &mut Client,
    tables: &Tables,
    wish: Wish<'_>,
    interrupt: &Interrupt,
    progress: Progress<'_>,
) -> Result<Reached> {
    let Wish { name, goal, timeout, .. } = wish;
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
        let is_there = !meant.is_empty();
        if !is_there && name.is_none() {
            return Err(nobody(&all));
        }
        if is_there && behind.is_empty() && meant.iter().all(|one| one.problem().is_none()) {
            return reached(client, tables, wish, position, &meant, &all);
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

/// There is nothing to wait for, which is no reason to go on.
fn nobody(all: &[Projection]) -> Error {
    let lines =
        left_out(all, None).into_iter().map(|left| format!("{} is {}", left.name, left.why));
    Error::refused("there is no projection to wait for").details(lines).hint(
        "name the one that has to get there: it is waited for until it comes, pupctl projections \
         status NAME --wait",
    )
}

fn left_out(all: &[Projection], name: Option<&str>) -> Vec<LeftOut> {
    let left = all.iter().filter(|one| name.is_none() && !is_meant(one, name));
    let why = |one: &Projection| if one.is_foreign() { "foreign" } else { "paused" };
    left.map(|one| LeftOut { name: one.name.clone(), why: why(one) }).collect()
}

fn barriers<'a>(meant: impl Iterator<Item = &'a Projection>) -> Vec<Barrier> {
    let barrier =
        |one: &Projection| Some(Barrier { name: one.name.clone(), drain_to: one.drain_to()? });
    meant.filter_map(barrier).collect()
}

/// All are there; unless events on the way were put aside.
fn reached(
    client: &mut Client,
    tables: &Tables,
    wish: Wish<'_>,
    position: i64,
    meant: &[&Projection],
    all: &[Projection],
) -> Result<Reached> {
    let (dead_letters, up_to) = (&tables.dead_letters, position);
    let sql = render("projection/control/letters_up_to", &values! { dead_letters, up_to });
    let rows = client
        .query(&sql, &[])
        .map_err(|error| Error::database("looking at the dead letters", error))?;
    let unhandled = |row: &Row| Unhandled {
        name: row.get("projection"),
        letters: row.get("letters"),
        first_position: row.get("first"),
    };
    let is_watched =
        |found: &Unhandled| meant.iter().any(|one| !one.is_foreign() && one.name == found.name);
    let dead_letters: Vec<_> = rows.iter().map(unhandled).filter(is_watched).collect();
    if let Some(first) = dead_letters.first().filter(|_| !wish.ignore_dead_letters) {
        let lines = dead_letters.iter().map(|found| {
            let events = if found.letters == 1 { "event" } else { "events" };
            let Unhandled { name, letters, first_position } = found;
            format!("{letters} {events} of {name}, the first at position {first_position}")
        });
        let name = shell_word(&first.name);
        return Err(Error::refused(format!(
            "all are at position {position}, but events up to it are among the dead letters"
        ))
        .details(lines)
        .hint(format!(
            "see them: pupctl projections dead-letters list {name}; replay or discard them; or \
             --ignore-dead-letters"
        )));
    }
    Ok(Reached {
        position,
        projections: meant.iter().map(|projection| projection.name.clone()).collect(),
        left_out: left_out(all, wish.name),
        barriers: barriers(meant.iter().copied()),
        dead_letters,
    })
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
    let failures = failures(behind.iter().copied());
    lines.extend(
        failures.into_iter().map(|(error, rows)| format!("{} fails: {error}", rows.join(", "))),
    );
    lines.extend(barriers(meant.iter().copied()).iter().map(Barrier::words));
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
    let has_failed = row.slot.as_ref().is_some_and(|slot| slot.last_error.is_some());
    let fails = if has_failed { ", and fails" } else { "" };
    format!("{} is at {}{fails}", row.row, row.position)
}
