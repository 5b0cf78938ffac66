//! How the slots of a projection become others: values in, values out.

use serde::Serialize;

use crate::projection::control::row::{Group, NewRow, SlotRow};
use crate::projection::name::row_name;
use crate::projection::{Fnv1a, ServerHash};

/// The slots that a projection is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How many.
    pub slots: u32,
    /// By which hash.
    pub hash: String,
}

/// In which way the slots change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// They are so already.
    Nothing,
    /// Each new slot is a part of an old one, and begins where that one stands.
    Split,
    /// Each new slot is made of whole old ones, which have to stand at one position.
    Merge,
    /// Every event may change its slot, so all have to stand at one position.
    Barrier,
}

impl Way {
    /// From so many slots by a hash to so many by another.
    #[must_use]
    pub fn of(slots: u32, hash: &str, target: &Target) -> Self {
        let same = hash == target.hash;
        // Of other hashes nobody knows whether twice as many slots divide each in two.
        let modular = same && [ServerHash::NAME, Fnv1a::NAME].contains(&hash);
        if same && slots == target.slots {
            Self::Nothing
        } else if slots == 1 || (modular && target.slots.is_multiple_of(slots)) {
            Self::Split
        } else if target.slots == 1 || (modular && slots.is_multiple_of(target.slots)) {
            Self::Merge
        } else {
            Self::Barrier
        }
    }

    /// Whether events of an old slot may belong to a new one.
    #[must_use]
    pub fn feeds(self, old: u32, slots: u32, new: u32, new_slots: u32) -> bool {
        match self {
            Self::Nothing => old == new,
            Self::Split => new % slots == old,
            Self::Merge => old % new_slots == new,
            Self::Barrier => true,
        }
    }

    /// Why nothing is lost and nothing repeated.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Nothing => "nothing changes",
            Self::Split => {
                "every event of a new slot was one of the old slot from which it comes, and the \
                 new one begins where that one stands"
            }
            Self::Merge => {
                "the old slots of which a new one is made stand at one position when it takes \
                 their place"
            }
            Self::Barrier => {
                "all old slots stand at one position when the new ones take their place"
            }
        }
    }
}

/// How far a slot has to go before the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drain {
    /// The row.
    #[serde(rename = "row")]
    pub name: String,
    /// The slot.
    pub slot: u32,
    /// Where it stands.
    pub position: i64,
    /// Where it has to stand, and may not go beyond.
    pub to: i64,
}

impl Drain {
    /// How many positions are left.
    #[must_use]
    pub fn left(&self) -> i64 {
        self.to.saturating_sub(self.position)
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In which way.
    pub way: Way,
    /// The rows as they are.
    pub before: Group,
    /// The barrier of each old slot: empty where no slot has to wait for another.
    pub drains: Vec<Drain>,
    /// The rows as they will be, once the old ones stand at their barriers.
    pub after: Vec<NewRow>,
}

impl Plan {
    /// From the rows that are there to those that are wanted.
    #[must_use]
    pub fn of(projection: &str, before: Group, target: &Target) -> Self {
        let way = Way::of(before.slots, &before.hash, target);
        let after: Vec<_> =
            (0..target.slots).map(|slot| new_row(projection, way, &before, target, slot)).collect();
        let waits = matches!(way, Way::Merge | Way::Barrier);
        let drains = before.rows.iter().filter(|_| waits).map(|row| Drain {
            name: row.name.clone(),
            slot: row.slot,
            position: row.position,
            to: barrier(way, &before, target, row),
        });
        let drains = drains.collect();
        Self { way, before, drains, after }
    }

    /// Whether all slots stand where they have to.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.drains.iter().all(|drain| drain.position == drain.to)
    }

    /// The barriers that the rows must have while the slots are on their way to them.
    #[must_use]
    pub fn barriers(&self) -> Vec<Option<i64>> {
        if self.drains.is_empty() {
            return vec![None; self.before.rows.len()];
        }
        self.drains.iter().map(|drain| Some(drain.to)).collect()
    }

    /// The slots that are not there yet.
    pub fn behind(&self) -> impl Iterator<Item = &Drain> {
        self.drains.iter().filter(|drain| drain.left() > 0)
    }
}

/// Where a slot has to stand: at the highest position of those with which it shares a new one.
fn barrier(way: Way, before: &Group, target: &Target, row: &SlotRow) -> i64 {
    let shares = |other: &&SlotRow| {
        way == Way::Barrier || other.slot % target.slots == row.slot % target.slots
    };
    before.rows.iter().filter(shares).map(|other| other.position).max().unwrap_or(row.position)
}

fn new_row(projection: &str, way: Way, before: &Group, target: &Target, slot: u32) -> NewRow {
    let feeds = |row: &&SlotRow| way.feeds(row.slot, before.slots, slot, target.slots);
    let sources: Vec<&SlotRow> = before.rows.iter().filter(feeds).collect();
    // Each old slot's events are counted in one new one: that with the first of its events.
    let counted = |row: &&&SlotRow| match way {
        Way::Barrier => slot == 0,
        Way::Split => row.slot == slot,
        Way::Nothing | Way::Merge => true,
    };
    let failure = sources.iter().filter(|row| row.last_error.is_some());
    let failure = failure.max_by_key(|row| row.failed_at);
    let first = before.rows.first();
    NewRow {
        name: row_name(projection, slot, target.slots),
        slot,
        slots: target.slots,
        hash: target.hash.clone(),
        epoch: before.epoch.saturating_add(1),
        position: sources.iter().map(|row| row.position).max().unwrap_or(0),
        bounded_contexts: first.and_then(|row| row.bounded_contexts.clone()),
        aggregate_types: first.and_then(|row| row.aggregate_types.clone()),
        read_model: first.and_then(|row| row.read_model.clone()),
        paused_at: sources.iter().filter_map(|row| row.paused_at).min(),
        parked: sources.iter().any(|row| row.parked),
        replay_at: sources.iter().filter_map(|row| row.replay_at).min(),
        events_handled: sources.iter().filter(counted).map(|row| row.events_handled).sum(),
        last_error: failure.and_then(|row| row.last_error.clone()),
        failed_at: failure.and_then(|row| row.failed_at),
        failed_position: failure.and_then(|row| row.failed_position),
    }
}

#[cfg(test)]
mod tests;
