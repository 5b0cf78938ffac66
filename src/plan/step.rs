//! Plans, steps and actions: values that say what will be done and why. [`crate::render`] turns
//! them into statements.

use serde::Serialize;

use crate::catalog::relation::{Grant, ReplicaIdentity};
use crate::layout::bounds::Bound;
use crate::layout::levels::Level;
use crate::layout::name::{QualifiedName, Tables};
use crate::layout::protection::Trigger;
use crate::layout::{Layout, Role};

use super::attach::{Admission, Alignment};
use super::files::MigrationFile;
use super::index::IndexAction;
use super::lifecycle::LifecycleAction;

/// What is to be done, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What the user should know, though nothing needs to be done.
    pub notes: Vec<String>,
    /// What the plan leaves undone, with the reason: the rest goes ahead, the command fails.
    pub problems: Vec<String>,
}

/// Whether the statements of a step are one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transaction {
    /// All or nothing.
    Required,
    /// One statement that opens transactions itself.
    Forbidden,
    /// The same, where the statement waits for the transactions of others half way: a
    /// `lock_timeout` would leave half of its work behind, so it has none.
    Concurrent,
}

/// One step: what it does, why, and whether it can be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does, in the imperative.
    pub title: String,
    /// Why.
    pub why: String,
    /// Its actions, in order.
    pub actions: Vec<Action>,
    /// Whether they are one transaction.
    pub transaction: Transaction,
    /// Whether it destroys anything, so that the user must agree.
    pub destroys: bool,
}

impl Step {
    /// A step that is one transaction and destroys nothing.
    pub fn new(title: impl Into<String>, why: impl Into<String>, actions: Vec<Action>) -> Self {
        Self {
            title: title.into(),
            why: why.into(),
            actions,
            transaction: Transaction::Required,
            destroys: false,
        }
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the schema.
    CreateSchema(String),
    /// Apply a migration and record it, in one transaction.
    Migrate(Migration),
    /// Record a migration whose tables are there already.
    RecordMigration(Migration),
    /// Apply a file of migrations and record it.
    MigrateFile {
        /// The schema whose history records it.
        schema: String,
        /// The file.
        file: Box<MigrationFile>,
    },
    /// Store the layout, in place of the one that is stored.
    StoreLayout {
        /// The schema of the store.
        schema: String,
        /// What to store.
        layout: Box<Layout>,
    },
    /// Take the lock that attaching needs, before anything else is done in the transaction.
    LockParent(QualifiedName),
    /// Make a table beside its parent.
    CreatePartition(NewPartition),
    /// Remember on a branch that it is being built, and for what.
    MarkUnfinished {
        /// The branch.
        branch: QualifiedName,
        /// The mark: which partition of which table it is to become.
        mark: String,
    },
    /// Forget the mark, because the branch is attached.
    ClearUnfinished(QualifiedName),
    /// Attach a table to its parent.
    Attach {
        /// The parent.
        parent: QualifiedName,
        /// The new partition.
        partition: QualifiedName,
        /// What it holds.
        bound: Bound,
        /// The parent's partition for other rows, which the server locks and scans.
        default: Option<QualifiedName>,
        /// The tables at the other ends of the parent's foreign keys, which the server locks.
        foreign_keys: Vec<QualifiedName>,
    },
    /// Put a protection in place, or take it away.
    Protect(Protect),
    /// Refresh the planner's statistics of a parent, which autovacuum never does.
    Analyze {
        /// The parent.
        table: QualifiedName,
        /// Whether the server can leave out the partitions (PostgreSQL 18 and newer).
        only: bool,
    },
    /// Something about an index.
    Index(IndexAction),
    /// Something that takes a partition out of its table, or brings it in.
    Lifecycle(LifecycleAction),
    /// Make a table like the one to which it is to be attached.
    Align(Alignment),
    /// Something about the rows of a table that is to be attached.
    Admit(Admission),
}

/// Something about the protections of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protect {
    /// Make or replace the function behind a trigger.
    Function {
        /// The schema of the store.
        schema: String,
        /// The names of the tables.
        tables: Tables,
        /// Which.
        trigger: Trigger,
    },
    /// Make the key table of event ids.
    EventIds {
        /// The schema of the store.
        schema: String,
        /// The names of the tables.
        tables: Tables,
    },
    /// Give it back its key.
    EventIdsKey {
        /// The schema of the store.
        schema: String,
    },
    /// Note that ids may be missing from it.
    EventIdsIncomplete {
        /// The schema of the store.
        schema: String,
    },
    /// Fill it with the ids of the events that are there, and note that it is complete.
    CollectEventIds {
        /// The schema of the store.
        schema: String,
        /// The names of the tables.
        tables: Tables,
    },
    /// Make or replace a trigger.
    Trigger {
        /// On this table.
        table: QualifiedName,
        /// Which.
        trigger: Trigger,
        /// Whether others can reach the table, so that the lock matters to them.
        live: bool,
    },
    /// Drop a trigger that the layout does not name.
    Drop {
        /// From this table.
        table: QualifiedName,
        /// Which.
        trigger: Trigger,
    },
}

/// Which set of migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationSet {
    /// pupctl's own tables.
    Own,
    /// The tables of the store.
    Store,
}

/// A migration of one of the two sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Which set.
    pub set: MigrationSet,
    /// Its version in the set.
    pub version: i64,
    /// Its name, of word characters.
    pub name: &'static str,
    /// The schema of the store.
    pub schema: String,
    /// The layout for which it is rendered.
    pub layout: Box<Layout>,
}

/// A table to be made as a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPartition {
    /// Of which table.
    pub role: Role,
    /// The table that it is made like.
    pub parent: QualifiedName,
    /// Its name.
    pub name: QualifiedName,
    /// What it will hold.
    pub bound: Bound,
    /// How it is divided itself.
    pub level: Option<Level>,
    /// The keys that it does not take over from the parent; the first is the primary key where
    /// `primary` says so.
    pub keys: Vec<Vec<&'static str>>,
    /// Whether the first of `keys` is the primary key.
    pub primary: bool,
    /// Whether it leaves out the indexes of the parent: they are built when it has its rows.
    pub bare: bool,
    /// The triggers that it gets: a statement on it fires none of its parent's.
    pub triggers: Vec<Trigger>,
    /// The parent's owner, where it is not the role that makes the table.
    pub owner: Option<String>,
    /// The parent's grants; none where policies protect its rows, which a partition does not have.
    pub grants: Vec<Grant>,
    /// The parent's replica identity.
    pub replica_identity: ReplicaIdentity,
    /// The parent's tablespace, where it has one of its own.
    pub tablespace: Option<String>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether any step destroys something.
    #[must_use]
    pub fn destroys(&self) -> bool {
        self.steps.iter().any(|step| step.destroys)
    }

    /// The partitions that the plan makes, in order.
    pub fn new_partitions(&self) -> impl Iterator<Item = &NewPartition> {
        self.actions().filter_map(|action| match action {
            Action::CreatePartition(partition) => Some(partition),
            _ => None,
        })
    }

    /// The migrations that the plan applies or records, in order.
    pub fn migrations(&self) -> impl Iterator<Item = &Migration> {
        self.actions().filter_map(|action| match action {
            Action::Migrate(migration) | Action::RecordMigration(migration) => Some(migration),
            _ => None,
        })
    }

    /// The files that the plan applies, in order.
    pub fn files(&self) -> impl Iterator<Item = &MigrationFile> {
        self.actions().filter_map(|action| match action {
            Action::MigrateFile { file, .. } => Some(&**file),
            _ => None,
        })
    }

    /// Whether it puts a protection in place, or makes it anew.
    #[must_use]
    pub fn installs(&self, wanted: Trigger) -> bool {
        self.actions().any(|action| match action {
            Action::Migrate(migration) => {
                migration.name == "guard" && migration.layout.triggers().contains(&wanted)
            }
            Action::Protect(
                Protect::Function { trigger, .. } | Protect::Trigger { trigger, .. },
            ) => *trigger == wanted,
            _ => false,
        })
    }

    /// Whether the guard comes or goes, so that somebody else moves the heads from then on.
    #[must_use]
    pub fn switches_guard(&self) -> bool {
        let drops = |action: &Action| {
            matches!(action, Action::Protect(Protect::Drop { trigger: Trigger::Guard, .. }))
        };
        self.installs(Trigger::Guard) || self.actions().any(drops)
    }

    fn actions(&self) -> impl Iterator<Item = &Action> {
        self.steps.iter().flat_map(|step| &step.actions)
    }
}
