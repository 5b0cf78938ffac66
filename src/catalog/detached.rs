//! Tables beside the store: those that were detached from it, and those that are to be attached.

use crate::layout::name::QualifiedName;
use crate::layout::place::Place;

use super::relation::Relation;

/// A table that was detached, as its comment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached {
    /// Its OID.
    pub oid: u32,
    /// Its name.
    pub name: QualifiedName,
    /// Where it was.
    pub place: Place,
}

/// An archive that was begun, and whose file is not proven yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedArchive {
    /// Its name.
    pub name: String,
    /// Where its rows were.
    pub place: Place,
    /// Whether it is heads instead of events.
    pub heads: bool,
    /// Whether its table has left the store for sure.
    pub detached: bool,
}

/// Any table of the schema, as far as it matters for attaching it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standalone {
    /// The table, with indexes, triggers and details.
    pub relation: Relation,
    /// Its comment.
    pub comment: Option<String>,
    /// The table of which it is a partition or a child already.
    pub parent: Option<QualifiedName>,
    /// Whether others inherit from it.
    pub has_children: bool,
    /// Whether it is made of a composite type (`CREATE TABLE … OF`).
    pub typed: bool,
}
