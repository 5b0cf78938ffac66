//! What all projections do at the moment.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use postgres::Client;
use serde::Serialize;

use crate::db::Interrupt;
use crate::error::{Error, Result};
use crate::projection::application_name;
use crate::render::environment::{render, values};

use super::checkpoint::{self, Checkpoint, Projection};
use super::head::{self, Head, WorkerSession};
use super::lag::{self, Lag};
use super::{Tables, checkpoints_ready};

/// What a projection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Another library keeps it.
    Foreign,
    /// Nobody may work on it.
    Paused,
    /// Its slots are being changed.
    Draining,
    /// The last batch of a slot failed.
    Failing,
    /// A worker is connected.
    Running,
    /// No worker is connected.
    Idle,
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Foreign => "foreign",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Failing => "failing",
            Self::Running => "running",
            Self::Idle => "idle",
        })
    }
}

/// How many dead letters a projection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Letters {
    /// Events that it could not handle.
    pub failed: i64,
    /// Later events of the same aggregates.
    pub waiting: i64,
    /// Events that it went past.
    pub skipped: i64,
    /// Events that it was not given in time, and is to handle late.
    pub missed: i64,
}

impl Letters {
    /// All together.
    #[must_use]
    pub fn total(self) -> i64 {
        self.failed + self.waiting + self.skipped + self.missed
    }
}

/// All projections, and how far they could be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The end of the store.
    pub head: Head,
    /// Those of pupctl by name, then those of other libraries.
    pub projections: Vec<ProjectionStatus>,
}

/// What a projection does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: String,
    /// In one word.
    pub state: State,
    /// How many slots it has; none in those of other libraries, nor the next three.
    pub slots: Option<i32>,
    /// The hash that divides its events.
    pub slot_hash: Option<String>,
    /// How often its slots were changed.
    pub epoch: Option<i32>,
    /// The contexts that it reads; empty for all.
    pub bounded_contexts: Vec<String>,
    /// The types of aggregates that it reads; empty for all.
    pub aggregate_types: Vec<String>,
    /// The tables that it fills.
    pub read_model: Vec<String>,
    /// How far its last slot is.
    pub position: i64,
    /// How many positions that is behind the end of the store.
    pub lag_positions: i64,
    /// What lies ahead; none where it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// How fast it is.
    pub events_per_second: f32,
    /// How many events it has handled.
    pub events_handled: i64,
    /// Events that it could not handle.
    pub dead_letters: Letters,
    /// Since when nobody may work on it.
    pub paused_at: Option<DateTime<Utc>>,
    /// Up to where it goes while its slots are changed.
    pub drain_to: Option<i64>,
    /// Its workers that are connected.
    pub sessions: Vec<WorkerSession>,
    /// What is wrong with its rows.
    pub problem: Option<String>,
    /// Its rows.
    pub checkpoints: Vec<CheckpointStatus>,
}

/// What one slot does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckpointStatus {
    /// The row.
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
    /// What lies ahead of it; none where it was not asked for, or the server does not know the
    /// hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// How fast it is: 0 where nothing was written for a while.
    pub rate: f32,
    /// Whether a worker of the projection is connected.
    pub worker_connected: bool,
}

/// Looks at one projection, or at all; `counts` says whether the events ahead are counted. A name
/// also finds the rows of other libraries that may be meant by it.
pub fn look(
    client: &mut Client,
    tables: &Tables,
    name: Option<&str>,
    counts: bool,
    interrupt: &Interrupt,
) -> Result<Status> {
    checkpoints_ready(client, &tables.checkpoints)?;
    // Before the rows, so that no position lies behind the end.
    let head = head::look(client, &tables.events, interrupt)?;
    let rows = checkpoint::read(client, &tables.checkpoints, true)?;
    let sessions = head::sessions(client)?;
    let letters = letters(client, tables)?;
    let mut projections = checkpoint::projections(rows);
    if let Some(name) = name {
        let is_meant = |projection: &Projection| {
            projection.name == name
                || projection.checkpoints.iter().any(|row| checkpoint::is_foreign_row_of(row, name))
        };
        if !projections.iter().any(is_meant) {
            return Err(checkpoint::unknown(name, &projections));
        }
        projections.retain(is_meant);
    }
    let mut found = Vec::new();
    for projection in projections {
        interrupt.check()?;
        let lags = counts
            .then(|| lag::count(client, &tables.events, &projection, head.position))
            .transpose()
            .map_err(|error| interrupt.explain(error))?;
        let letters = letters.get(&projection.name).copied().unwrap_or_default();
        found.push(status(projection, head.position, lags, letters, &sessions));
    }
    Ok(Status { head, projections: found })
}

fn letters(client: &mut Client, tables: &Tables) -> Result<BTreeMap<String, Letters>> {
    let dead_letters = &tables.dead_letters;
    let rows = client
        .query(&render("projection/control/dead_letters", &values! { dead_letters }), &[])
        .map_err(|error| Error::database("counting the dead letters", error))?;
    let count = |row: &postgres::Row| Letters {
        failed: row.get("failed"),
        waiting: row.get("waiting"),
        skipped: row.get("skipped"),
        missed: row.get("missed"),
    };
    Ok(rows.iter().map(|row| (row.get("projection"), count(row))).collect())
}

fn status(
    projection: Projection,
    head: i64,
    lags: Option<lag::Lags>,
    letters: Letters,
    sessions: &[WorkerSession],
) -> ProjectionStatus {
    let is_foreign = projection.is_foreign();
    let name = application_name(&projection.name);
    let is_its = |session: &&WorkerSession| !is_foreign && session.application_name == name;
    let sessions: Vec<_> = sessions.iter().filter(is_its).cloned().collect();
    let worker_connected = !sessions.is_empty();
    let state = state(&projection, worker_connected);
    let (position, problem) = (projection.position(), projection.problem());
    let (paused, drain_to) = (projection.is_paused(), projection.drain_to());
    let slot = projection.slot().cloned();
    let total = lags.as_ref().map(|lags| lags.total);
    let mut by_row = lags.map(|lags| lags.slots).unwrap_or_default().into_iter();
    let checkpoints: Vec<_> = projection
        .checkpoints
        .into_iter()
        .map(|checkpoint| CheckpointStatus {
            lag: by_row.next().flatten(),
            rate: rate(&checkpoint),
            worker_connected,
            checkpoint,
        })
        .collect();
    let slots = || checkpoints.iter().filter_map(|row| row.checkpoint.slot.as_ref());
    ProjectionStatus {
        state,
        slots: slot.as_ref().map(|slot| slot.slots),
        slot_hash: slot.as_ref().map(|slot| slot.slot_hash.clone()),
        epoch: slot.as_ref().map(|slot| slot.epoch),
        position,
        lag_positions: (head - position).max(0),
        lag: total,
        events_per_second: checkpoints.iter().map(|row| row.rate).sum(),
        events_handled: slots().map(|slot| slot.events_handled).sum(),
        dead_letters: if is_foreign { Letters::default() } else { letters },
        paused_at: slots().filter_map(|slot| slot.paused_at).min().filter(|_| paused),
        drain_to,
        sessions,
        problem,
        bounded_contexts: slot.as_ref().map_or(Vec::new(), |slot| slot.bounded_contexts.clone()),
        aggregate_types: slot.as_ref().map_or(Vec::new(), |slot| slot.aggregate_types.clone()),
        read_model: slot.map_or(Vec::new(), |slot| slot.read_model),
        name: projection.name,
        checkpoints,
    }
}

fn state(projection: &Projection, is_running: bool) -> State {
    if projection.is_foreign() {
        State::Foreign
    } else if projection.is_paused() {
        State::Paused
    } else if projection.drain_to().is_some() {
        State::Draining
    } else if projection.slots().any(|slot| slot.last_error.is_some()) {
        State::Failing
    } else if is_running {
        State::Running
    } else {
        State::Idle
    }
}

fn rate(checkpoint: &Checkpoint) -> f32 {
    let slot = checkpoint.slot.as_ref().filter(|_| checkpoint.recent);
    slot.map_or(0.0, |slot| slot.events_per_second)
}
