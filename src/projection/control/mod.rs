//! Looks at projections, and steers them: pause, reset, delete.
//!
//! All of it is in the rows of checkpoints. A worker holds the lock of a slot's row for as long as
//! its batch takes, so whoever holds the locks of all rows of a projection knows that nobody works
//! on it; and workers find what was written there when they come back for the next batch. Nobody
//! has to be told anything.

pub mod adopt;
pub mod change;
pub mod checkpoint;
pub mod delete;
pub mod head;
pub mod holes;
pub mod init;
pub mod lag;
pub mod letters;
pub mod pause;
pub mod read_model;
pub mod rescale;
pub mod reset;
pub mod row;
pub mod start;
pub mod status;
pub mod verify;
pub mod wait;

use postgres::GenericClient;

use crate::error::{Error, Result};
use crate::layout::name::{AUDIT, DEFINITIONS, QualifiedName};
use crate::layout::place::Place;
use crate::layout::{Layout, Role};
use crate::render::tables::archives_table;

/// The tables of a store that projections have to do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// `events`.
    pub events: QualifiedName,
    /// `aggregate_heads`.
    pub heads: QualifiedName,
    /// `projection_checkpoints`.
    pub checkpoints: QualifiedName,
    /// `projection_dead_letters`.
    pub dead_letters: QualifiedName,
    /// `projection_definitions`.
    pub definitions: QualifiedName,
    /// `projection_audit`.
    pub audit: QualifiedName,
    /// `pupctl_archives`.
    pub archives: QualifiedName,
    /// Tables that were detached from `events`, and lie beside it.
    pub detached: Vec<(QualifiedName, Place)>,
}

impl Tables {
    /// Those of a store with this layout.
    #[must_use]
    pub fn of(layout: &Layout, schema: &str) -> Self {
        Self {
            events: layout.table(schema, Role::Events),
            heads: layout.table(schema, Role::Heads),
            checkpoints: layout.checkpoints(schema),
            dead_letters: layout.dead_letters(schema),
            definitions: layout.definitions(schema),
            audit: layout.audit(schema),
            archives: archives_table(schema),
            detached: Vec::new(),
        }
    }
}

/// The tables beside the checkpoints: of what projections are, and of what they were given.
pub(super) fn beside(checkpoints: &QualifiedName) -> (QualifiedName, QualifiedName) {
    let of = |name: &str| QualifiedName::new(checkpoints.schema.clone(), name);
    (of(DEFINITIONS), of(AUDIT))
}

/// Whether checkpoints have the columns of slots, and the tables of the audit beside them: those of
/// a store that an older pupctl made do not.
pub fn are_extended(client: &mut impl GenericClient, checkpoints: &QualifiedName) -> Result<bool> {
    let QualifiedName { schema, name } = checkpoints;
    let beside: &[&str] = &[DEFINITIONS, AUDIT];
    let row = client
        .query_opt(include_str!("../../../sql/projection/extended.sql"), &[schema, name, &beside])
        .map_err(|error| Error::database("looking for the columns of checkpoints", error))?
        .ok_or_else(|| Error::refused(format!("the table {checkpoints} is missing")))?;
    Ok(row.get("extended") && row.get("audited"))
}

/// Refuses a store whose checkpoints do not have the columns of slots yet.
pub fn checkpoints_ready(
    client: &mut impl GenericClient,
    checkpoints: &QualifiedName,
) -> Result<()> {
    if are_extended(client, checkpoints)? {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{checkpoints} has no room for slots, or for their audit: an older pupctl made the store"
    ))
    .hint("bring the tables up to date: pupctl projections init"))
}
