//! Plans how a store that is not partitioned gets a layout while its writers go on.
//!
//! The new tables are built beside the old ones under names of their own, their partitions under
//! the names that they keep. In the end the tables change names, in one transaction.

pub mod attach;
pub mod belongings;
pub mod build;
pub mod ranges;
pub mod rows;
pub mod since;
pub mod survey;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::relation::{Relation, RelationKind};
use crate::catalog::{Catalog, Unfinished};
use crate::error::{Error, Result};
use crate::layout::name::{self, QualifiedName};
use crate::layout::{Layout, Role};

use super::wanted::UNFINISHED_PREFIX;

/// What a new table's name ends with until it takes the place of the old one.
const NEXT: &str = "convert";

/// What the old table's name ends with afterwards.
const RETIRED: &str = "before_convert";

/// How a store is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The events are copied into a new table.
    Copy,
    /// The old table becomes the first partition of a new one.
    Attach,
}

/// How far a conversion is. Each phase is idempotent, and recorded when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The new tables are being built.
    Building,
    /// Events are being copied.
    Copying,
    /// Keys and indexes are being built on what was copied.
    Indexing,
    /// What was copied is being compared.
    Verifying,
    /// Only the swap is left.
    Ready,
    /// The new tables are the store's; the old ones are kept.
    Swapped,
    /// The old tables are gone.
    Finished,
    /// It was called off; the old tables are the store's.
    RolledBack,
}

impl Phase {
    const ALL: [Self; 8] = [
        Self::Building,
        Self::Copying,
        Self::Indexing,
        Self::Verifying,
        Self::Ready,
        Self::Swapped,
        Self::Finished,
        Self::RolledBack,
    ];

    /// As the list of conversions has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Copying => "copying",
            Self::Indexing => "indexing",
            Self::Verifying => "verifying",
            Self::Ready => "ready",
            Self::Swapped => "swapped",
            Self::Finished => "finished",
            Self::RolledBack => "rolled_back",
        }
    }

    /// The phase of a word of the list, whose own CHECK refuses others.
    #[must_use]
    pub fn of(word: &str) -> Self {
        Self::ALL.into_iter().find(|phase| phase.word() == word).unwrap_or(Self::RolledBack)
    }

    /// Whether the conversion is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::RolledBack)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::RolledBack => "rolled back",
            other => other.word(),
        })
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Copy => "copy",
            Self::Attach => "attach",
        })
    }
}

/// A table that is replaced by another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Which of the store's.
    pub role: Role,
    /// What it is called, before and after.
    pub current: QualifiedName,
    /// What the new one is called until the swap.
    pub next: QualifiedName,
    /// What the old one is called after it.
    pub retired: QualifiedName,
}

/// What a store is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The layout that it gets.
    pub layout: Layout,
    /// The tables that are replaced, heads before events.
    pub tables: Vec<Replaced>,
}

impl Target {
    /// A store with this layout, in place of the one that the catalog shows.
    pub fn new(layout: Layout, catalog: &Catalog) -> Result<Self> {
        if layout.levels.is_empty() {
            return Err(Error::invalid("the layout none has nothing to convert to")
                .hint("say how to partition, for example --partition-by month"));
        }
        for table in [&catalog.events, &catalog.heads].into_iter().flatten() {
            if table.root.kind != RelationKind::Table {
                return Err(Error::refused(format!(
                    "{} is not a plain table: it is partitioned already, or of another kind",
                    table.root.name
                ))
                .hint("see how it is divided: pupctl partitions list"));
            }
        }
        let replaced = |role| {
            let current = layout.table(&catalog.schema_name, role);
            let next = free_name(catalog, &current, NEXT);
            let retired = free_name(catalog, &current, RETIRED);
            Replaced { role, current, next, retired }
        };
        let divided = |role: &Role| !layout.levels_of(*role).is_empty();
        let tables = Role::ALL.into_iter().filter(divided).map(replaced).collect();
        Ok(Self { layout, tables })
    }

    /// The table of events.
    #[must_use]
    pub fn events(&self) -> Option<&Replaced> {
        self.of(Role::Events)
    }

    /// A table, where it is replaced.
    #[must_use]
    pub fn of(&self, role: Role) -> Option<&Replaced> {
        self.tables.iter().find(|table| table.role == role)
    }
}

impl Replaced {
    /// The comment that the new table carries until it takes the place of the old one.
    #[must_use]
    pub fn mark(&self) -> String {
        format!("{}{}", mark_prefix(), self.current.name)
    }

    /// The new table, as far as it is built.
    #[must_use]
    pub fn built<'a>(&self, catalog: &'a Catalog) -> Option<&'a Relation> {
        let is_it = |unfinished: &&Unfinished| {
            unfinished.branch.name == self.next && unfinished.mark == self.mark()
        };
        catalog.unfinished.iter().find(is_it).map(|unfinished| &unfinished.branch)
    }
}

fn mark_prefix() -> String {
    format!("{UNFINISHED_PREFIX}of all, the conversion of ")
}

/// Whether a mark is that of a table which takes the place of another one.
#[must_use]
pub fn is_mark(mark: &str) -> bool {
    mark.starts_with(&mark_prefix())
}

fn free_name(catalog: &Catalog, table: &QualifiedName, suffix: &str) -> QualifiedName {
    let plain = name::joined(&table.name, suffix);
    let candidates = (0..).map(|number: u32| match number {
        0 => plain.clone(),
        _ => name::hashed(&plain, &format!("{suffix} {number}")),
    });
    // There are more names than tables.
    let free = candidates.into_iter().find(|name| !catalog.other_names.contains(name));
    table.sibling(free.unwrap_or(plain))
}
