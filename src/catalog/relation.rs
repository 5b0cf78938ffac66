//! Tables and partitions as a tree.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::layout::bounds::Bound;
use crate::layout::month::Month;
use crate::layout::name::QualifiedName;

use super::Column;
use super::index::Index;
use super::trigger::TableTrigger;

/// What sort of relation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// An ordinary table.
    Table,
    /// A table that holds no rows itself, only partitions.
    Partitioned,
    /// A foreign table, a view or anything else.
    Other,
}

/// How updates and deletes are published (`REPLICA IDENTITY`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplicaIdentity {
    /// By the primary key.
    #[default]
    Default,
    /// By an index.
    Index,
    /// By the whole row.
    Full,
    /// Not at all.
    Nothing,
}

/// A privilege on a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who may; `None` is PUBLIC.
    pub grantee: Option<String>,
    /// What, for example `SELECT`.
    pub privilege: String,
    /// Whether the grantee may pass it on.
    pub grantable: bool,
}

/// A privilege on a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnGrant {
    /// The column.
    pub column: String,
    /// Who may what.
    pub grant: Grant,
}

/// How much space a relation takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// The rows, with TOAST, free space map and visibility map.
    pub table: u64,
    /// The indexes.
    pub indexes: u64,
}

/// A constraint, apart from NOT NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// Its name.
    pub name: String,
    /// What sort it is, as `pg_constraint` has it: `c` for CHECK, `f` for a foreign key, `p`, `u`.
    pub kind: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// As the server prints it.
    pub definition: String,
    /// Whether all rows were checked.
    pub valid: bool,
    /// Whether the parent has it too.
    pub inherited: bool,
    /// The table that a foreign key refers to.
    pub references: Option<QualifiedName>,
}

/// What a partition is compared in with its parent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// Its columns in their order.
    pub columns: Vec<Column>,
    /// Its constraints by name.
    pub constraints: Vec<Constraint>,
    /// Its storage parameters, `name=value`, sorted.
    pub options: Vec<String>,
    /// The privileges that were granted on it, apart from the owner's.
    pub grants: Vec<Grant>,
    /// The privileges that were granted on columns of it alone.
    pub column_grants: Vec<ColumnGrant>,
    /// Rules that put something else in place of statements on it, or beside them.
    pub rules: Vec<String>,
    /// The publications that name it itself.
    pub publications: Vec<String>,
    /// Whether policies hold for its owner too.
    pub force_row_security: bool,
    /// Whether a crash empties it.
    pub unlogged: bool,
}

/// A table, a branch or a leaf, with what hangs below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its OID; what is checked again before anything destructive.
    pub oid: u32,
    /// Its name.
    pub name: QualifiedName,
    /// What sort it is.
    pub kind: RelationKind,
    /// What it holds, where it is a partition.
    pub bound: Option<Bound>,
    /// How it is divided, as `pg_get_partkeydef` prints it.
    pub partition_key: Option<String>,
    /// A `DETACH … CONCURRENTLY` was interrupted: its rows are invisible through the parent and
    /// inserts to its range fail.
    pub detach_pending: bool,
    /// Who owns it.
    pub owner: String,
    /// Whether the role has the rights of the owner, and so may change it.
    pub owned: bool,
    /// The privileges that were granted on it, apart from the owner's.
    pub grants: Vec<Grant>,
    /// How its updates and deletes are published.
    pub replica_identity: ReplicaIdentity,
    /// Whether policies decide which rows a reader sees (`ENABLE ROW LEVEL SECURITY`).
    pub row_security: bool,
    /// Where it lies, or for a branch where its partitions are made; `None` is the database's
    /// default.
    pub tablespace: Option<String>,
    /// The tables that it references by foreign keys, and those that reference it.
    pub foreign_keys: Vec<QualifiedName>,
    /// The planner's estimate of its rows; `None` before the first VACUUM or ANALYZE.
    pub rows: Option<u64>,
    /// Its size, where it was asked for.
    pub size: Option<Size>,
    /// Its indexes.
    pub indexes: Vec<Index>,
    /// Its triggers, in the order of their names.
    pub triggers: Vec<TableTrigger>,
    /// What it is compared in with its parent, where that was asked for.
    pub details: Details,
    /// Its partitions, in the order of their bounds' text.
    pub partitions: Vec<Relation>,
}

impl Relation {
    /// Whether it holds rows.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        self.kind != RelationKind::Partitioned
    }

    /// This relation and all below, parents before their partitions.
    pub fn walk(&self) -> impl Iterator<Item = &Relation> {
        let mut stack = vec![self];
        std::iter::from_fn(move || {
            let next = stack.pop()?;
            stack.extend(next.partitions.iter().rev());
            Some(next)
        })
    }

    /// The leaves of the tree; the relation itself where it is not partitioned.
    pub fn leaves(&self) -> impl Iterator<Item = &Relation> {
        self.walk().filter(|relation| relation.is_leaf())
    }

    /// The months of its own partitions.
    #[must_use]
    pub fn months(&self) -> BTreeSet<Month> {
        self.partitions.iter().filter_map(|p| p.bound.as_ref()?.as_month()).collect()
    }

    /// The primary key, when it is on other columns than these.
    #[must_use]
    pub fn other_primary_key(&self, columns: &[&str]) -> Option<&Index> {
        self.indexes.iter().find(|index| index.primary && !index.is_key_on(columns))
    }

    /// A unique index that a partition divided by month cannot take over: PostgreSQL wants
    /// `created_at` in it.
    #[must_use]
    pub fn key_without_time(&self) -> Option<&Index> {
        let is_timeless = |index: &&Index| {
            index.unique && !index.columns.iter().any(|column| column == "created_at")
        };
        self.indexes.iter().find(is_timeless)
    }

    /// The storage parameters that most leaves have; of two that are as frequent, the fewer. A
    /// partitioned table has none itself.
    #[must_use]
    pub fn usual_options(&self) -> Vec<String> {
        let mut counts: BTreeMap<&[String], usize> = BTreeMap::new();
        for leaf in self.leaves() {
            *counts.entry(&leaf.details.options).or_default() += 1;
        }
        // The last of equals wins, so the fewest come last.
        let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
        most.map(|(options, _)| options.to_vec()).unwrap_or_default()
    }

    /// The partition for rows that no other takes.
    #[must_use]
    pub fn default_partition(&self) -> Option<&Relation> {
        self.partitions.iter().find(|partition| partition.bound == Some(Bound::Default))
    }
}
