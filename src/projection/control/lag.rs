//! How many events lie ahead of a projection.

use std::collections::BTreeMap;

use postgres::GenericClient;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::projection::ServerHash;
use crate::render::environment::{render, values};

use super::checkpoint::{Checkpoint, Projection};

/// So many events are counted at a time; more lie ahead than anybody wants to know exactly.
pub const COUNTED_MAX: i64 = 100_000;

/// Slots that are further apart than what is counted at a time are counted apart, up to so many
/// times.
const WINDOWS_MAX: usize = 8;

/// What lies ahead of a slot, or of a whole projection.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Lag {
    /// How many events of its scope it has not handled.
    pub events: i64,
    /// Whether there may be more than these.
    pub at_least: bool,
    /// The age of the oldest of them; 0 where there is none, none where it was not seen.
    pub seconds: Option<f64>,
}

impl Lag {
    /// Nothing lies ahead.
    const NONE: Self = Self { events: 0, at_least: false, seconds: Some(0.0) };

    /// Both together.
    fn and(self, other: Self) -> Self {
        let oldest = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
        Self {
            events: self.events + other.events,
            at_least: self.at_least || other.at_least,
            seconds: oldest(self.seconds, other.seconds),
        }
    }
}

/// What lies ahead of a projection.
#[derive(Debug, Clone, PartialEq)]
pub struct Lags {
    /// Of the whole of it.
    pub total: Lag,
    /// Of each row, in their order; none where the server does not know which events are whose.
    pub slots: Vec<Option<Lag>>,
}

/// Counts what lies ahead, up to the end of the store. Of slots whose hash the server does not know
/// only the events behind the last slot are counted, which others of them may have handled.
pub fn count(
    client: &mut impl GenericClient,
    events: &QualifiedName,
    projection: &Projection,
    head: i64,
) -> Result<Lags> {
    let by_slot = projection.slot().filter(|slot| slot.slots > 1);
    if by_slot.is_some_and(|slot| slot.slot_hash != ServerHash::NAME) {
        let last = (0, projection.position());
        let total = behind(client, events, projection, None, &[last], head)?;
        let total = total.get(&0).copied().unwrap_or(Lag::NONE);
        return Ok(Lags { total, slots: vec![None; projection.checkpoints.len()] });
    }
    let number = |row: &Checkpoint| row.slot.as_ref().map_or(0, |slot| i64::from(slot.slot));
    let number = |row: &Checkpoint| if by_slot.is_some() { number(row) } else { 0 };
    let rows = &projection.checkpoints;
    let positions: Vec<_> = rows.iter().map(|row| (number(row), row.position)).collect();
    let slots = by_slot.map(|slot| slot.slots);
    let found = behind(client, events, projection, slots, &positions, head)?;
    let of = |row: &Checkpoint| found.get(&number(row)).copied();
    let slots: Vec<_> = rows.iter().map(of).collect();
    let total = slots.iter().flatten().fold(Lag::NONE, |sum, lag| sum.and(*lag));
    Ok(Lags { total, slots })
}

/// For numbers of slots and where they are.
fn behind(
    client: &mut impl GenericClient,
    events: &QualifiedName,
    projection: &Projection,
    slots: Option<i32>,
    positions: &[(i64, i64)],
    head: i64,
) -> Result<BTreeMap<i64, Lag>> {
    let scope = projection.slot();
    let contexts = scope.map(|slot| slot.bounded_contexts.clone()).unwrap_or_default();
    let aggregates = scope.map(|slot| slot.aggregate_types.clone()).unwrap_or_default();
    let mut open: Vec<_> = positions.iter().copied().filter(|(_, at)| *at < head).collect();
    open.sort_by_key(|(_, at)| *at);
    let mut found: BTreeMap<_, _> = positions.iter().map(|(slot, _)| (*slot, Lag::NONE)).collect();
    for _ in 0..WINDOWS_MAX {
        let Some((_, after)) = open.first().copied() else { break };
        // Literal bounds, so that months with bounds of their own are left out of the plan.
        let values = values! {
            events, slots, after, head, contexts, aggregates, limit => COUNTED_MAX,
        };
        let (numbers, places): (Vec<_>, Vec<_>) = open.iter().copied().unzip();
        let rows = client
            .query(&render("projection/control/lag", &values), &[&numbers, &places])
            .map_err(|error| {
            Error::database("counting the events ahead of a projection", error)
        })?;
        let Some(row) = rows.first() else { break };
        let is_cut = row.get::<_, i64>("seen") >= COUNTED_MAX;
        let end: i64 = row.get::<_, Option<i64>>("last").unwrap_or(head);
        for row in &rows {
            let events: i64 = row.get("events");
            let age = row.get::<_, Option<f64>>("seconds").map(|age| age.max(0.0));
            let seconds = age.or((!is_cut).then_some(0.0));
            found.insert(row.get("slot"), Lag { events, at_least: is_cut, seconds });
        }
        open.retain(|(_, at)| is_cut && *at >= end);
    }
    for (slot, _) in open {
        found.insert(slot, Lag { events: 0, at_least: true, seconds: None });
    }
    Ok(found)
}
