//! The audit: what a projection was given is compared with what is in the store.
//!
//! Workers note with every batch which positions it had, how many events, and the sum of the
//! hashes of their ids. Here the same is computed from the events, block by block, and where both
//! are not the same it is found out why: an event committed late, was imported or attached below
//! the checkpoint, was given twice, or is not the one that it was.

mod absence;
mod compare;
pub mod repair;

use std::fmt;

use chrono::{DateTime, Utc};
use postgres::Client;
use serde::Serialize;

use crate::db::Interrupt;
use crate::error::{Error, Result};
use crate::render::environment::{render, values};

use super::checkpoint::{self, Projection, find, foreign, foreign_rows, unknown};
use super::{Tables, checkpoints_ready};

pub use absence::Absent;

/// How many events of a kind are told.
const SAMPLES: usize = 10;

/// How many ranges of positions are told, and mended one by one.
const RANGES: usize = 100;

/// How often partitions may come and go while it is compared.
const TURNS: usize = 3;

/// What is wrong with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is in the store, and was not given.
    Lost,
    /// It was given more than once.
    Doubled,
    /// Another event than the one that was given is at its position.
    Other,
    /// It was given, and is neither in the store nor in an archive.
    Vanished,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Other => "other",
            Self::Vanished => "vanished",
        })
    }
}

/// Positions one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first position.
    pub first: i64,
    /// The last one.
    pub last: i64,
    /// How many events of the kind are there.
    pub events: i64,
}

/// An event, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Its position.
    pub position: i64,
    /// The event; none where it is not in the store.
    #[serde(flatten)]
    pub event: Option<Known>,
}

/// An event of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Its id.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// Its context.
    pub bounded_context: String,
    /// The type of its aggregate.
    pub aggregate_type: String,
    /// The id of its aggregate.
    pub aggregate_id: String,
    /// The version of its aggregate.
    pub aggregate_version: i64,
    /// When it came about.
    pub created_at: DateTime<Utc>,
}

/// What was found of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The kind.
    pub kind: Kind,
    /// How many events; of `other` how many blocks of 1024 positions have some.
    pub events: i64,
    /// Where they are. The last range is wide where there are very many.
    pub ranges: Vec<Range>,
    /// The first of them, as far as they are known.
    pub first: Vec<Sample>,
}

/// A projection, compared with the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Its name.
    pub projection: String,
    /// At and below this position nobody knows what it was given; none where nothing is noted.
    pub audited_from: Option<i64>,
    /// Positions behind this one were compared…
    pub after: i64,
    /// … up to this one.
    pub up_to: i64,
    /// How many events of the store that were.
    pub events: i64,
    /// What is wrong.
    pub findings: Vec<Difference>,
    /// Events that were given and have left the store since, which is all right.
    pub archived: Vec<Absent>,
    /// Its file, where it is one of SQL.
    pub file: Option<String>,
    /// How many lost events cannot be told from others at their positions, so that no repair can
    /// give them.
    pub ambiguous: i64,
}

impl Verified {
    /// What was found of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Option<&Difference> {
        self.findings.iter().find(|found| found.kind == kind)
    }

    /// How many lost events can be given now.
    #[must_use]
    pub fn repairable(&self) -> i64 {
        self.of(Kind::Lost).map_or(0, |lost| lost.events - self.ambiguous)
    }

    fn add(&mut self, kind: Kind, range: Range) {
        let place = self.findings.iter().position(|found| found.kind == kind);
        let place = place.unwrap_or_else(|| {
            self.findings.push(Difference {
                kind,
                events: 0,
                ranges: Vec::new(),
                first: Vec::new(),
            });
            self.findings.len() - 1
        });
        let found = &mut self.findings[place];
        found.events += range.events;
        let full = found.ranges.len() >= RANGES;
        match found.ranges.last_mut() {
            Some(last) if full || range.first - last.last < crate::projection::audit::BLOCK => {
                last.first = range.first.min(last.first);
                last.last = range.last.max(last.last);
                last.events += range.events;
            }
            _ => found.ranges.push(range),
        }
    }

    /// How many more events of a kind may be told.
    fn room(&self, kind: Kind) -> usize {
        self.of(kind).map_or(0, |found| SAMPLES.saturating_sub(found.first.len()))
    }

    fn tell(&mut self, kind: Kind, samples: impl IntoIterator<Item = Sample>) {
        let room = self.room(kind);
        if let Some(found) = self.findings.iter_mut().find(|found| found.kind == kind) {
            found.first.extend(samples.into_iter().take(room));
        }
    }
}

/// Which projections are meant, and which positions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// The projections; all of pupctl's where none is named.
    pub names: Vec<String>,
    /// The first position.
    pub from: Option<i64>,
    /// The last position.
    pub to: Option<i64>,
}

/// Is told how far it is: which projection, the position, and the last one.
pub type Progress<'a> = &'a mut dyn FnMut(&str, i64, i64);

/// Finds the tables anew: partitions may have come and gone.
pub type Refresh<'a> = &'a mut dyn FnMut(&mut Client) -> Result<Tables>;

/// Compares projections with the store.
pub fn look(
    client: &mut Client,
    refresh: Refresh<'_>,
    wish: &Wish,
    interrupt: &Interrupt,
    progress: Progress<'_>,
) -> Result<Vec<Verified>> {
    let tables = refresh(client)?;
    checkpoints_ready(client, &tables.checkpoints)?;
    let names = names(client, &tables, wish)?;
    let mut verified = Vec::new();
    for name in names {
        let found = settle(client, refresh, &name, wish, interrupt, progress);
        verified.push(found.map_err(|error| interrupt.explain(error))?);
    }
    Ok(verified)
}

/// Compares again where a partition left or came back meanwhile: whether an event has vanished is
/// seen in two places, one after the other.
fn settle(
    client: &mut Client,
    refresh: Refresh<'_>,
    name: &str,
    wish: &Wish,
    interrupt: &Interrupt,
    progress: Progress<'_>,
) -> Result<Verified> {
    let mut turns = 0;
    loop {
        turns += 1;
        let tables = refresh(client)?;
        let before = absence::Absences::find(client, &tables)?;
        let found = one(client, &tables, &before, name, wish, interrupt, progress)?;
        if found.of(Kind::Vanished).is_none() || turns >= TURNS {
            return Ok(found);
        }
        let tables = refresh(client)?;
        if absence::Absences::find(client, &tables)? == before {
            return Ok(found);
        }
    }
}

fn names(client: &mut Client, tables: &Tables, wish: &Wish) -> Result<Vec<String>> {
    let rows = checkpoint::read(client, &tables.checkpoints, true)?;
    let all = checkpoint::projections(rows.clone());
    if wish.names.is_empty() {
        let own = all.iter().filter(|projection| !projection.is_foreign());
        return Ok(own.map(|projection| projection.name.clone()).collect());
    }
    for name in &wish.names {
        if find(&all, name).is_none() {
            let is_foreign = !foreign_rows(&rows, name).is_empty();
            let why = "nobody noted what it was given";
            return Err(if is_foreign { foreign(name, &rows, why) } else { unknown(name, &all) });
        }
    }
    let mut names = wish.names.clone();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

/// The rows of a projection that are there now.
fn rows_of(
    client: &mut impl postgres::GenericClient,
    tables: &Tables,
    name: &str,
) -> Result<Projection> {
    let rows = checkpoint::read(client, &tables.checkpoints, true)?;
    let all = checkpoint::projections(rows);
    find(&all, name).cloned().ok_or_else(|| unknown(name, &all))
}

/// From where on it is known what a projection was given, and its file.
fn start(
    client: &mut impl postgres::GenericClient,
    tables: &Tables,
    name: &str,
) -> Result<(Option<i64>, Option<String>)> {
    let values = values! { definitions => tables.definitions };
    let row =
        client.query_opt(&render("projection/verify/start", &values), &[&name]).map_err(failed)?;
    Ok(row.map_or((None, None), |row| (Some(row.get(0)), row.get(1))))
}

fn one(
    client: &mut Client,
    tables: &Tables,
    absences: &absence::Absences,
    name: &str,
    wish: &Wish,
    interrupt: &Interrupt,
    progress: Progress<'_>,
) -> Result<Verified> {
    let (audited_from, file) = start(client, tables, name)?;
    // Later than that, so that the rows stand behind it.
    let projection = rows_of(client, tables, name)?;
    let reached = projection.position();
    let up_to = wish.to.map_or(reached, |to| to.min(reached));
    let from = wish.from.map_or(0, |from| from.saturating_sub(1)).max(0);
    let after = from.max(audited_from.unwrap_or(up_to)).min(up_to.max(from));
    let mut verified = Verified {
        projection: name.to_owned(),
        audited_from,
        after,
        up_to: up_to.max(after),
        events: 0,
        findings: Vec::new(),
        archived: Vec::new(),
        file,
        ambiguous: 0,
    };
    if audited_from.is_some() && after < up_to {
        let scope = compare::Scope::of(&projection);
        let mut absent = absences.of(&scope.contexts);
        let mut comparison = compare::Comparison {
            client,
            tables,
            scope,
            absent: &mut absent,
            verified: &mut verified,
        };
        comparison.run(interrupt, progress)?;
        verified.archived = absent.told();
    }
    verified.findings.sort_by_key(|found| found.kind);
    Ok(verified)
}

fn failed(error: postgres::Error) -> Error {
    let denied = error.code() == Some(&postgres::error::SqlState::INSUFFICIENT_PRIVILEGE);
    let error = Error::database("comparing projections with the store", error);
    if denied {
        return error.hint("let a role compare them that may read all tables of the store");
    }
    error
}
