//! Plans indexes of live tables. On a partitioned table the parent's index comes first, invalid
//! and without those of the partitions, so that partitions made meanwhile take it over; then one
//! is built on each leaf while writers go on, and attached. The parent's becomes valid with the
//! last.

mod build;
mod drop;
mod reindex;
#[cfg(test)]
mod tests;

pub use build::{Wanted, add};
pub use drop::drop;
pub use reindex::{Targets, broken, reindex, unfinished};

use crate::catalog::Catalog;
use crate::catalog::index::Index;
use crate::catalog::relation::Relation;
use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;

use super::step::{Action, Plan, Step, Transaction};

/// One thing to do with an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexAction {
    /// Make it.
    Create {
        /// On which table.
        table: QualifiedName,
        /// Its name; it lies in the schema of the table.
        name: String,
        /// What it is, from `USING` on, as the server prints it.
        definition: String,
        /// How.
        build: Build,
    },
    /// Make a partition's index a part of its parent's.
    Attach {
        /// The parent's index.
        parent: QualifiedName,
        /// The partition's.
        index: QualifiedName,
    },
    /// Remove it.
    Drop {
        /// Which.
        index: QualifiedName,
        /// The tables that the server locks for it.
        tables: Vec<QualifiedName>,
        /// Whether readers and writers go on meanwhile.
        concurrently: bool,
    },
    /// Build it anew beside itself, then take the new one.
    Reindex {
        /// Which.
        index: QualifiedName,
        /// On which table.
        table: QualifiedName,
    },
}

/// How an index is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// On a partitioned table alone, which has no rows.
    Parent,
    /// While writers go on.
    Concurrently,
    /// On a table that is not attached yet.
    Beside,
}

/// The index of this name, with its table.
fn named<'a>(catalog: &'a Catalog, name: &str) -> Option<(&'a Relation, &'a Index)> {
    catalog.roots().flat_map(Relation::walk).find_map(|relation| {
        let index = relation.indexes.iter().find(|index| index.name == name)?;
        Some((relation, index))
    })
}

/// A step that waits for the transactions of others half way.
fn concurrent(title: String, why: impl Into<String>, action: IndexAction) -> Step {
    let mut step = Step::new(title, why, vec![Action::Index(action)]);
    step.transaction = Transaction::Concurrent;
    step
}

fn attach(parent: &QualifiedName, index: &QualifiedName) -> Step {
    Step::new(
        format!("Attach {} to {}", index.name, parent.name),
        "the parent's index becomes valid when it has one of every partition",
        vec![Action::Index(IndexAction::Attach { parent: parent.clone(), index: index.clone() })],
    )
}

/// Removes what an interrupted run left on a leaf.
fn drop_leftover(table: &Relation, index: &Index) -> Step {
    let name = table.name.sibling(index.name.as_str());
    concurrent(
        format!("Drop {}", index.name),
        "an interrupted build left it, and the server does not use it",
        IndexAction::Drop { index: name, tables: vec![table.name.clone()], concurrently: true },
    )
}

fn rebuild(table: &Relation, index: &Index) -> Step {
    let name = table.name.sibling(index.name.as_str());
    let why = if index.valid {
        "a new one is built beside it and takes its place"
    } else {
        "the server does not use it: its build failed or was interrupted"
    };
    let action = IndexAction::Reindex { index: name, table: table.name.clone() };
    concurrent(format!("Rebuild {} on {}", index.name, table.name.name), why, action)
}

/// Whether an interrupted `REINDEX … CONCURRENTLY` left it: the server calls the new one
/// `_ccnew` and the old one `_ccold` until it is done.
fn is_left_by_reindex(index: &Index) -> bool {
    let name = index.name.trim_end_matches(|c: char| c.is_ascii_digit());
    !index.valid && index.parent.is_none() && (name.ends_with("_ccnew") || name.ends_with("_ccold"))
}

/// Foreign tables have no indexes, and PostgreSQL leaves the parent's invalid for ever.
fn refuse_foreign(root: &Relation) -> Result<()> {
    use crate::catalog::relation::RelationKind;
    let Some(foreign) = root.leaves().find(|leaf| leaf.kind == RelationKind::Other) else {
        return Ok(());
    };
    Err(Error::refused(format!(
        "{} is no table of this server, so an index of {} can never be whole",
        foreign.name, root.name
    ))
    .hint("detach it first"))
}
