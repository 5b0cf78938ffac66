//! What becomes of everything that hangs on a table when another one takes its name: it is carried
//! over, the layout brings its own, or nothing is begun before it is mended.

mod columns;
mod followers;
mod keys;
mod refusal;
mod table;

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::catalog::surroundings::Surroundings;
use crate::layout::levels::Level;
use crate::layout::name::QualifiedName;
use crate::layout::{Layout, Role};

pub use columns::{StoreColumn, store_columns};
pub use keys::{Extra, extra_index};
pub use refusal::{OfTable, differing, refusal, refusal_of_all};

/// A thing that hangs on the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Belonging {
    /// What it is, in words that name it.
    pub what: String,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The new table gets it too.
    Carried {
        /// In which way.
        how: String,
    },
    /// It cannot be carried: nothing is begun.
    Refused {
        /// What would go wrong.
        why: String,
        /// What mends it.
        mend: Mend,
    },
    /// The new table does without it, or the layout brings its own.
    Left {
        /// Which of the two.
        why: String,
    },
}

/// What mends a thing that cannot be carried. [`crate::render`] makes the statements of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Mend {
    /// A constraint goes.
    DropConstraint { table: QualifiedName, constraint: String },
    /// All rows are checked.
    ValidateConstraint { table: QualifiedName, constraint: String },
    /// An index goes.
    DropIndex { index: QualifiedName },
    /// A rule goes.
    DropRule { table: QualifiedName, rule: String },
    /// A trigger goes.
    DropTrigger { table: QualifiedName, trigger: String },
    /// A view goes for a while.
    DropView { view: QualifiedName, materialized: bool },
    /// A routine goes for a while; its signature is as the server writes it.
    DropRoutine { signature: String, procedure: bool, aggregate: bool },
    /// Policies do not hold for the owner.
    NoForceRowSecurity { table: QualifiedName },
    /// The table is written to the log.
    Logged { table: QualifiedName },
    /// One table does not inherit from another any more.
    NoInherit { table: QualifiedName, parent: QualifiedName },
    /// The table is of no type any more.
    NotOf { table: QualifiedName },
    /// The usual access method.
    AccessMethod { table: QualifiedName },
    /// Updates and deletes are published by the whole row.
    ReplicaIdentityFull { table: QualifiedName },
    /// Changes of partitions are sent as those of their table.
    ViaRoot { publication: String },
    /// The publication names the table instead of its schema.
    LeaveSchema { publication: String, schema: String, table: QualifiedName },
    /// The publication of everything goes.
    DropPublication { publication: String },
    /// A session takes one number at a time.
    SequenceCache { sequence: QualifiedName },
    /// Numbers follow each other.
    SequenceIncrement { sequence: QualifiedName },
    /// Numbers do not begin anew.
    SequenceNoCycle { sequence: QualifiedName },
    /// Numbers have 64 bits.
    SequenceType { sequence: QualifiedName },
    /// A column numbers its rows by its default.
    Serial { table: QualifiedName, column: String, sequence: QualifiedName },
    /// A column gets the default `nextval`, of the sequence that it owns or of a new one.
    NewSequence { table: QualifiedName, column: String, own: Option<QualifiedName> },
    /// A column is added.
    AddColumn { table: QualifiedName, column: String, data_type: String },
    /// A column has another type.
    ColumnType { table: QualifiedName, column: String, data_type: String },
    /// A column refuses NULL.
    ColumnNotNull { table: QualifiedName, column: String },
    /// A column takes NULL.
    ColumnNull { table: QualifiedName, column: String },
    /// A column has a default.
    ColumnDefault { table: QualifiedName, column: String, default: String },
    /// No two rows have the same values.
    AddKey { table: QualifiedName, columns: Vec<String>, primary: bool },
    /// A column computes nothing.
    DropExpression { table: QualifiedName, column: String },
    /// A column does not number its rows.
    DropIdentity { table: QualifiedName, column: String },
    /// The role gets the rights of another.
    Membership { role: String, member: String },
    /// The rights of another are needed, and are not to be given.
    Rights { words: String },
    /// What is no single statement.
    Words { words: String },
}

impl Belonging {
    pub(super) fn carried(what: impl Into<String>, how: impl Into<String>) -> Self {
        Self { what: what.into(), fate: Fate::Carried { how: how.into() } }
    }

    pub(super) fn refused(what: impl Into<String>, why: impl Into<String>, mend: Mend) -> Self {
        Self { what: what.into(), fate: Fate::Refused { why: why.into(), mend } }
    }

    pub(super) fn left(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), fate: Fate::Left { why: why.into() } }
    }

    /// What mends it, where it cannot be carried.
    #[must_use]
    pub fn mend(&self) -> Option<&Mend> {
        match &self.fate {
            Fate::Refused { mend, .. } => Some(mend),
            Fate::Carried { .. } | Fate::Left { .. } => None,
        }
    }
}

impl fmt::Display for Belonging {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Fate::Carried { how: words }
        | Fate::Refused { why: words, .. }
        | Fate::Left { why: words }) = &self.fate;
        write!(formatter, "{}: {words}", self.what)
    }
}

/// What becomes of everything that hangs on the table of a role under a layout.
#[must_use]
pub fn examine(layout: &Layout, role: Role, surroundings: &Surroundings) -> Vec<Belonging> {
    let examined = Examined { layout, role, surroundings };
    let mut found = Vec::new();
    table::examine(&examined, &mut found);
    columns::examine(&examined, &mut found);
    keys::examine(&examined, &mut found);
    followers::examine(&examined, &mut found);
    found
}

/// The table in hand.
struct Examined<'a> {
    layout: &'a Layout,
    role: Role,
    surroundings: &'a Surroundings,
}

impl Examined<'_> {
    fn name(&self) -> QualifiedName {
        self.surroundings.name.clone()
    }

    /// The role gets the rights of an owner, but for those of a superuser.
    fn rights_of(&self, owner: &str) -> Mend {
        let table = &self.surroundings.table;
        let (role, member) = (owner.to_owned(), table.role.clone());
        if !table.superusers.iter().any(|name| name == owner) {
            return Mend::Membership { role, member };
        }
        let words = format!("convert as {owner} (--role {owner}), or give it another owner");
        Mend::Rights { words }
    }
}

/// The columns that decide in which partition a row lies, on any level of the layout.
#[must_use]
pub fn partition_columns(layout: &Layout, role: Role) -> BTreeSet<&str> {
    let own = layout.levels.iter();
    let below = layout.contexts.iter().flat_map(|context| context.levels.iter().flatten());
    let mut columns = BTreeSet::new();
    for level in own.chain(below) {
        match level {
            Level::Context => drop(columns.insert("bounded_context")),
            Level::Hash(hash) => columns.extend(hash.columns.iter().map(String::as_str)),
            Level::Month if role == Role::Events => drop(columns.insert("created_at")),
            Level::Month => {}
        }
    }
    columns
}
