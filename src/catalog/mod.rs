//! A snapshot of what the database has: plain values, so that planning and checking need no
//! server, and a test writes a catalog by hand.

pub mod bound;
pub mod detached;
#[cfg(test)]
pub(crate) mod handmade;
pub mod health;
pub mod index;
pub mod relation;
pub mod surroundings;
pub mod trigger;
pub mod workload;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::layout::bounds::Bound;
use crate::layout::month::Month;
use crate::layout::name::QualifiedName;
use crate::layout::place::Place;
use crate::layout::{Layout, Role};
use detached::{Detached, UnfinishedArchive};
use index::Index;
use relation::Relation;
use trigger::{EventIds, Function};

/// The server: its version, clock and the settings that limit pupctl.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Server {
    /// `server_version_num`, for example 150018.
    pub version_number: i32,
    /// As the server prints it, for example `15.18 (Debian …)`.
    pub version: String,
    /// The server's clock. pupctl uses no other for deciding which month it is.
    pub now: DateTime<Utc>,
    /// The role as which statements run.
    pub role: String,
    /// The database.
    pub database: String,
    /// `max_locks_per_transaction`.
    pub max_locks_per_transaction: usize,
    /// `max_connections`.
    pub max_connections: usize,
    /// `max_prepared_transactions`.
    pub max_prepared_transactions: usize,
    /// A standby, or a session that may only read.
    pub read_only: bool,
    /// Whether it replays another server's log.
    pub standby: bool,
}

impl Server {
    /// The major version, 15 of 15.18.
    #[must_use]
    pub fn major(&self) -> i32 {
        self.version_number / 10_000
    }

    /// The month in which the server is, in UTC.
    #[must_use]
    pub fn month(&self) -> Month {
        // A clock beyond the limits of `Month` is a broken one; the epoch makes that visible
        // and never makes anything look expired.
        Month::of(self.now).unwrap_or(Month::EPOCH)
    }

    /// How many locks on tables and indexes the server holds for sure, for all sessions
    /// together (`runtime-config-locks` in the manual).
    #[must_use]
    pub fn lock_table(&self) -> usize {
        self.max_locks_per_transaction * (self.max_connections + self.max_prepared_transactions)
    }
}

/// The schema in which the store lives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    /// Whether it exists.
    pub exists: bool,
    /// Whether the role may make tables in it (or make the schema itself, where it is missing).
    pub may_create: bool,
}

/// What a table has in a column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as `format_type` prints it.
    pub data_type: String,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// The default's expression.
    pub default: Option<String>,
    /// Whether it is computed from others (`GENERATED ALWAYS AS (…)`); `default` says how.
    pub generated: bool,
    /// Whether it numbers its rows itself (`AS IDENTITY`).
    pub identity: bool,
    /// Its collation, where it is not that of its type.
    pub collation: Option<String>,
}

/// One of the store's tables: the relation with its partitions, and its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The table itself, the root of the tree.
    pub root: Relation,
    /// Its columns in their order.
    pub columns: Vec<Column>,
}

/// A branch that is being built beside the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its comment, which says what it is to become.
    pub mark: String,
    /// The branch, with the leaves that it has so far.
    pub branch: Relation,
}

/// A conversion to another layout that goes on, as far as others have to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversion {
    /// Whether the new tables are the store's, and the old ones are kept for the way back.
    pub swapped: bool,
    /// How far it is, in a word.
    pub phase: String,
    /// From when on the old table refuses events, where it is to be a partition.
    pub cutover: Option<DateTime<Utc>>,
}

/// Which migrations of a set are recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppliedMigration {
    /// Its version.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// refinery's checksum over version, name and SQL, in decimal digits.
    pub checksum: String,
    /// When it was applied, as refinery writes it (RFC 3339).
    pub applied_on: String,
}

/// Everything that commands read about a store, taken in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    /// The server.
    pub server: Server,
    /// The name of the store's schema.
    pub schema_name: String,
    /// The state of the store's schema.
    pub schema: Schema,
    /// The stored layout, where `schema init` has stored one.
    pub layout: Option<Layout>,
    /// The applied migrations of pupctl's own tables.
    pub own_migrations: Vec<AppliedMigration>,
    /// The applied migrations of the store's tables.
    pub store_migrations: Vec<AppliedMigration>,
    /// `events`.
    pub events: Option<Table>,
    /// `aggregate_heads`.
    pub heads: Option<Table>,
    /// `projection_checkpoints`.
    pub checkpoints: Option<Table>,
    /// The functions behind pupctl's triggers.
    pub functions: Vec<Function>,
    /// The key table of event ids.
    pub event_ids: EventIds,
    /// Branches that are being built beside the tree, to be attached when they are whole.
    pub unfinished: Vec<Unfinished>,
    /// Tables that were detached from events, and lie beside it.
    pub detached: Vec<Detached>,
    /// Where in events the rows belong that left it for an archive.
    pub archived: Vec<Place>,
    /// The same of heads.
    pub archived_heads: Vec<Place>,
    /// The conversion to another layout that goes on.
    pub conversion: Option<Conversion>,
    /// The archives that were begun and have no proven file yet.
    pub unfinished_archives: Vec<UnfinishedArchive>,
    /// DEFAULT partitions that hold rows, where the snapshot was asked to look.
    pub default_with_rows: Vec<QualifiedName>,
    /// The names of other relations of the schema that begin like a table of the store.
    pub other_names: BTreeSet<String>,
    /// The names of all relations of the schema, indexes included, where definitions were asked
    /// for.
    pub taken_names: BTreeSet<String>,
}

impl Catalog {
    /// A schema without anything in it, on a server that limits nothing: for what is planned
    /// without a server.
    #[must_use]
    pub fn blank(schema_name: &str) -> Self {
        /// A lock table that no plan fills.
        const PLENTY: usize = 1 << 20;
        Self {
            server: Server {
                max_locks_per_transaction: PLENTY,
                max_connections: 1,
                ..Server::default()
            },
            schema_name: schema_name.to_owned(),
            schema: Schema { exists: true, may_create: true },
            ..Self::default()
        }
    }

    /// A table that the layout divides.
    #[must_use]
    pub fn table(&self, role: Role) -> Option<&Table> {
        match role {
            Role::Events => self.events.as_ref(),
            Role::Heads => self.heads.as_ref(),
        }
    }

    /// The roots of the store's tables that are there.
    pub fn roots(&self) -> impl Iterator<Item = &Relation> {
        [&self.heads, &self.events, &self.checkpoints]
            .into_iter()
            .flatten()
            .map(|table| &table.root)
    }

    /// How many locks a statement takes that has to open a whole table: every relation of the
    /// tree and every index.
    #[must_use]
    pub fn locks_of(&self, role: Role) -> usize {
        self.table(role)
            .map_or(0, |table| table.root.walk().map(|relation| 1 + relation.indexes.len()).sum())
    }
}

/// The keys that are missing on a relation: the columns of each, as they should be unique. A leaf
/// by time keeps its own primary key, since its parent has none that it would have to agree with.
#[must_use]
pub fn missing_keys(relation: &Relation, role: Role) -> Vec<Vec<&'static str>> {
    missing_keys_at(relation, role, relation.bound.as_ref())
}

/// The same for a table that is to get these bounds.
#[must_use]
pub fn missing_keys_at(
    relation: &Relation,
    role: Role,
    bound: Option<&Bound>,
) -> Vec<Vec<&'static str>> {
    // One on a column that has to be unique anyway. Another one is a fault by itself.
    let is_useful =
        |index: &Index| role.unique_columns().iter().any(|column| index.is_key_on(&[column]));
    let keeps_own = relation.other_primary_key(role.key_columns()).is_some_and(is_useful)
        && bound.is_some_and(Bound::is_range);
    let has = |columns: &[&str], primary: bool| {
        relation.indexes.iter().any(|index| index.is_key_on(columns) && (index.primary || !primary))
    };
    let mut missing = Vec::new();
    if !has(role.key_columns(), !keeps_own) {
        missing.push(role.key_columns().to_vec());
    }
    if relation.is_leaf() {
        for column in role.unique_columns() {
            if !has(&[column], false) {
                missing.push(vec![*column]);
            }
        }
    }
    missing
}

/// The indexes of a relation that the server does not use: a build failed or goes on.
pub fn invalid_indexes(relation: &Relation) -> impl Iterator<Item = &Index> {
    relation.indexes.iter().filter(|index| !index.valid)
}
