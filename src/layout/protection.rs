//! What protects the events beyond the keys of their leaves: the guard of versions, the key table
//! of event ids, and the refusal to change what is written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What keeps an aggregate from having one version in two months, which no key can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// Nothing does: two writers may store the same version in two months.
    #[default]
    None,
    /// Every insert into `events` moves the head forward by compare-and-set, or fails.
    Events,
}

impl fmt::Display for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::Events => "events",
        })
    }
}

impl FromStr for Guard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "events" => Ok(Self::Events),
            _ => Err(Error::invalid(format!("`{text}` is no guard")).hint("events or none")),
        }
    }
}

/// The protections that were chosen for a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protections {
    /// The guard, installed where months divide events.
    pub guard: Guard,
    /// Whether an event id is refused that any partition has, through a key table.
    pub event_ids: bool,
    /// Whether UPDATE, DELETE and TRUNCATE of events are refused.
    pub immutable: bool,
}

/// The key table of event ids.
pub const EVENT_IDS: &str = "pupctl_event_ids";

/// The comment on the key table that says that every stored id is in it.
pub const EVENT_IDS_COMPLETE: &str = "pupctl: holds the id of every event";

/// A trigger on every table that holds events, or leads to them: inserts, updates and truncations
/// of a leaf do not fire those of its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Moves heads forward by compare-and-set.
    Guard,
    /// Keeps the ids of events.
    EventIds,
    /// Refuses changes.
    Immutable,
}

impl Trigger {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Guard, Self::EventIds, Self::Immutable];

    /// Its name on every table, and that of its function in the schema of the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Guard => "pupctl_guard",
            // After the guard in the order of names, in which the triggers of a table fire.
            Self::EventIds => "pupctl_keep_ids",
            Self::Immutable => "pupctl_immutable",
        }
    }
}
