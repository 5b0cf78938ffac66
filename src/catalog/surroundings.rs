//! What hangs on a table: all that a new table of the same name must have as well, and all that
//! would follow the old one. Expressions and definitions are the server's own text, with every name
//! qualified.

use serde::{Deserialize, Serialize};

use crate::layout::name::QualifiedName;

use super::relation::{ColumnGrant, Grant};

/// A table with what hangs on it. Nothing in it changes by reading or writing rows, so two readings
/// are equal unless somebody changed a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    /// Its name.
    pub name: QualifiedName,
    /// What it is in itself.
    pub table: Facts,
    /// Its columns in their order.
    pub columns: Vec<Column>,
    /// Its constraints by name, foreign keys to others among them; NOT NULL only where rows may
    /// break it.
    pub constraints: Vec<Constraint>,
    /// Foreign keys of other tables to it.
    pub references: Vec<Reference>,
    /// Its indexes by name.
    pub indexes: Vec<Index>,
    /// Its extended statistics.
    pub statistics: Vec<Statistics>,
    /// Triggers of others than pupctl.
    pub triggers: Vec<Trigger>,
    /// Rules on it, by name.
    pub rules: Vec<String>,
    /// Its policies.
    pub policies: Vec<Policy>,
    /// Views and rules of other relations whose queries name it.
    pub views: Vec<View>,
    /// Functions and procedures that depend on it or on the type of its rows.
    pub routines: Vec<Routine>,
    /// Whatever else depends on it or on the type of its rows, as the server describes it.
    pub others: Vec<String>,
    /// Publications that send its changes.
    pub publications: Vec<Publication>,
    /// Subscriptions that write to it.
    pub subscriptions: Vec<String>,
    /// Sequences that its columns own or draw from.
    pub sequences: Vec<Sequence>,
    /// Its security labels and those of its columns.
    pub labels: Vec<Label>,
}

impl Surroundings {
    /// A column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The columns that a copy of its rows has to name: those that are not computed.
    pub fn copied_columns(&self) -> impl Iterator<Item = &str> {
        let stored = self.columns.iter().filter(|column| column.generated.is_empty());
        stored.map(|column| column.name.as_str())
    }

    /// The sequence behind the default of a column, or its identity.
    #[must_use]
    pub fn sequence(&self, column: &str) -> Option<&Sequence> {
        self.sequences.iter().find(|sequence| sequence.column == column && sequence.drawn)
    }
}

/// What a table is in itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
// As `pg_class` has them.
#[expect(clippy::struct_excessive_bools)]
pub struct Facts {
    /// Its OID.
    pub oid: u32,
    /// `r` for a table, `p` for a partitioned one, as `pg_class.relkind` has it.
    pub kind: String,
    /// Who owns it.
    pub owner: String,
    /// Whether the role of the session has the owner's rights.
    pub owned: bool,
    /// The role of the session.
    pub role: String,
    /// The roles that may do everything: nobody gets their rights to convert a table.
    pub superusers: Vec<String>,
    /// `p` for a table that lasts, `u` for one that a crash empties, `t` for a temporary one.
    pub persistence: String,
    /// The type of which it is (`CREATE TABLE … OF`).
    pub of_type: Option<String>,
    /// Whether it is a partition.
    pub partition: bool,
    /// The tables from which it inherits.
    pub parents: Vec<QualifiedName>,
    /// The tables that inherit from it, or its partitions.
    pub children: Vec<QualifiedName>,
    /// The table access method; none on most partitioned tables.
    pub access_method: Option<String>,
    /// Where it lies; `None` is the database's default.
    pub tablespace: Option<String>,
    /// Its storage parameters, `name=value`, sorted.
    pub options: Vec<String>,
    /// Those of its TOAST table.
    pub toast_options: Vec<String>,
    /// Whether policies decide which rows are seen.
    pub row_security: bool,
    /// Whether they do so for the owner too.
    pub force_row_security: bool,
    /// Whether they do so for the role of the session: a copy would miss rows.
    pub rows_hidden: bool,
    /// How updates and deletes are published, as `pg_class.relreplident` has it.
    pub replica_identity: String,
    /// Its comment.
    pub comment: Option<String>,
    /// What was granted on it to others than the owner.
    pub grants: Vec<Grant>,
    /// The same on columns.
    pub column_grants: Vec<ColumnGrant>,
    /// What the owner may not do any more.
    pub revoked: Vec<String>,
    /// What others may do with every new table of the session's role.
    pub default_grants: Vec<Grant>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as `format_type` prints it.
    pub data_type: String,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// The expression of its default, or that which computes it.
    pub default: Option<String>,
    /// Empty, or how it is computed: `s` stored, `v` when it is read.
    pub generated: String,
    /// Empty, or how it numbers rows itself: `a` always, `d` by default.
    pub identity: String,
    /// Its collation, where it is not that of its type.
    pub collation: Option<QualifiedName>,
    /// The target of its statistics, where it is not the server's.
    pub statistics: Option<i32>,
    /// How long values are stored, where it is not as its type says: `PLAIN`, `EXTERNAL`, …
    pub storage: Option<String>,
    /// How they are compressed, where it is not the server's way.
    pub compression: Option<String>,
    /// Options for the planner (`n_distinct`), `name=value`.
    pub options: Vec<String>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A constraint of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Constraint {
    /// Its name.
    pub name: String,
    /// As `pg_constraint.contype` has it: `c` CHECK, `f` foreign key, `p`, `u`, `x`; `n` for a
    /// NOT NULL that rows may break.
    pub kind: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// As the server prints it.
    pub definition: String,
    /// Whether all rows were checked.
    pub valid: bool,
    /// Whether it is enforced at all.
    pub enforced: bool,
    /// Whether partitions would not have it.
    pub no_inherit: bool,
    /// The table to which a foreign key refers.
    pub references: Option<QualifiedName>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A foreign key of another table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The table that has it.
    pub table: QualifiedName,
    /// Its name.
    pub name: String,
    /// As the server prints it.
    pub definition: String,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
// As `pg_index` has them.
#[expect(clippy::struct_excessive_bools)]
pub struct Index {
    /// Its name, in the schema of the table.
    pub name: String,
    /// `btree`, `brin`, …
    pub method: String,
    /// Whether it is unique.
    pub unique: bool,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Whether the server uses it.
    pub valid: bool,
    /// Whether it covers only some rows.
    pub partial: bool,
    /// Whether the table was put into its order (`CLUSTER`).
    pub clustered: bool,
    /// Whether updates and deletes are published by it.
    pub replica_identity: bool,
    /// The columns of its key; an expression stands as the empty string.
    pub columns: Vec<String>,
    /// All that it is, from `USING` on.
    pub definition: String,
    /// The constraint that it belongs to.
    pub constraint: Option<String>,
    /// Where it lies; `None` is the database's default.
    pub tablespace: Option<String>,
    /// Its comment.
    pub comment: Option<String>,
}

/// Extended statistics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Their name.
    pub name: QualifiedName,
    /// The statement that makes them.
    pub definition: String,
    /// Their target, where it is not the server's.
    pub target: Option<i32>,
    /// Who owns them.
    pub owner: String,
    /// Whether the role of the session has the owner's rights.
    pub owned: bool,
    /// Their comment.
    pub comment: Option<String>,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
// As `pg_trigger` has them.
#[expect(clippy::struct_excessive_bools)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// The statement that makes it.
    pub definition: String,
    /// As `pg_trigger.tgenabled` has it: `O`, `D` disabled, `R` on replicas, `A` always.
    pub enabled: String,
    /// Whether it fires for each row.
    pub for_rows: bool,
    /// Whether it fires before the change, and may alter it.
    pub before: bool,
    /// Whether it sees all changed rows as a table.
    pub transition: bool,
    /// Whether it is a constraint trigger.
    pub constraint: bool,
    /// Its comment.
    pub comment: Option<String>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Whether it allows; else it restricts.
    pub permissive: bool,
    /// `ALL`, `SELECT`, …
    pub command: String,
    /// For whom it holds; `None` is PUBLIC.
    pub roles: Vec<Option<String>>,
    /// Which rows are seen.
    pub visible: Option<String>,
    /// Which rows may be written.
    pub writable: Option<String>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A relation whose query names the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its name.
    pub name: QualifiedName,
    /// `v` for a view, `m` for a materialised one, else another relation with a rule.
    pub kind: String,
    /// The rule; that of a view is its query.
    pub rule: String,
    /// The query of a view.
    pub definition: Option<String>,
    /// Its options (`security_barrier`, `check_option`), `name=value`.
    pub options: Vec<String>,
    /// Who owns it.
    pub owner: String,
    /// Whether the role of the session has the owner's rights.
    pub owned: bool,
    /// Whether the query relies on a key of the table (`GROUP BY` by the primary key).
    pub keyed: bool,
}

impl View {
    /// Whether it is a view, rather than something else with a rule.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.kind == "v" && self.rule == "_RETURN"
    }
}

/// A function or procedure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
// As `pg_proc` has them.
#[expect(clippy::struct_excessive_bools)]
pub struct Routine {
    /// Its name with the types of its arguments, quoted by the server.
    pub signature: String,
    /// Whether it is a procedure.
    pub procedure: bool,
    /// Whether it is an aggregate function.
    pub aggregate: bool,
    /// The statement that makes it again, where its body depends on the table.
    pub definition: Option<String>,
    /// Whether an argument, or what it gives, is a row of the table.
    pub of_rows: bool,
    /// Whether its body relies on a key of the table.
    pub keyed: bool,
    /// Who owns it.
    pub owner: String,
    /// Whether the role of the session has the owner's rights.
    pub owned: bool,
}

/// How a publication comes to send the changes of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// It names the table.
    Table,
    /// It takes all tables of the schema.
    Schema,
    /// It takes all tables.
    All,
}

/// A publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: String,
    /// Whether the role of the session has the owner's rights.
    pub owned: bool,
    /// How it comes to the table.
    pub scope: Scope,
    /// Whether changes of partitions are sent as those of their table.
    pub via_root: bool,
    /// Whether updates or deletes are sent.
    pub changes: bool,
    /// The columns that are sent, where it names them.
    pub columns: Option<Vec<String>>,
    /// Which rows are sent, where it says so.
    pub filter: Option<String>,
}

/// A sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
// As the catalog has them.
#[expect(clippy::struct_excessive_bools)]
pub struct Sequence {
    /// Its name.
    pub name: QualifiedName,
    /// The column that owns it or draws from it.
    pub column: String,
    /// Whether the column owns it: it would go with the table.
    pub owned_by: bool,
    /// Whether the column's default or identity draws from it.
    pub drawn: bool,
    /// Whether it is that of an identity column.
    pub identity: bool,
    /// Its type.
    pub data_type: String,
    /// How many numbers a session takes at once.
    pub cache: i64,
    /// The step from one number to the next.
    pub increment: i64,
    /// Whether it begins anew at its end.
    pub cycle: bool,
    /// Whether the role of the session has the rights of its owner.
    pub owned: bool,
}

/// A security label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Whose it is, as an extension calls itself.
    pub provider: String,
    /// The column; `None` for the table.
    pub column: Option<String>,
    /// What it says.
    pub label: String,
}
