//! A plan as statements: what `--dry-run` prints and what the executor runs is one value.

use std::fmt;
use std::fmt::Write as _;

use minijinja::Value;
use serde::Serialize;

use crate::catalog::relation::ReplicaIdentity;
use crate::layout::Layout;
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::layout::protection::Trigger;
use crate::plan::{
    Action, Migration, MigrationFile, MigrationSet, NewPartition, Plan, Protect, Step, Transaction,
};

use super::environment::{quoted, render, values};
use super::tables::{
    archives_table, closed_table, conversion_ranges_table, conversions_table, history_table,
    json_function, layout_table, operations_table, wait_function,
};
use super::{protection, quote};

/// The locks on tables that pupctl's statements take, weakest first (`explicit-locking` in the
/// manual).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LockMode {
    /// What a SELECT takes.
    AccessShare,
    /// What a SELECT … FOR UPDATE takes, beside its locks on rows.
    RowShare,
    /// What an INSERT takes.
    RowExclusive,
    /// Against other DDL and VACUUM; readers and writers go on.
    ShareUpdateExclusive,
    /// Against writers; readers go on.
    Share,
    /// Against writers and itself; readers go on.
    ShareRowExclusive,
    /// Against everybody.
    AccessExclusive,
}

impl fmt::Display for LockMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        })
    }
}

/// The strongest lock that a statement takes on tables that others use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// Which.
    pub mode: LockMode,
    /// On what.
    pub on: QualifiedName,
}

/// One statement, why it is there, and the locks that it takes on what others use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// The SQL, without the final semicolon unless it is a whole migration.
    pub sql: String,
    /// Why it is there.
    pub why: String,
    /// The locks on tables that others can reach; a table that the step itself makes is not one.
    pub locks: Vec<Lock>,
}

/// The statements in one message: a step that makes many partitions has hundreds, and the locks
/// are held while each would go to the server and back.
pub(crate) fn joined<'a>(statements: impl IntoIterator<Item = &'a Statement>) -> String {
    let mut sql = String::new();
    for statement in statements {
        sql.push_str(&statement.sql);
        // On a line of its own, as a statement may end with a comment.
        sql.push_str("\n;\n");
    }
    sql
}

/// A migration ready for refinery.
#[derive(Debug, Clone)]
pub struct RenderedMigration {
    /// The migration, with its checksum.
    pub migration: refinery::Migration,
    /// The table that records it.
    pub history: QualifiedName,
    /// Whether it is only recorded, because its tables are there.
    pub record_only: bool,
    /// The locks on tables that an earlier migration made.
    pub locks: Vec<Lock>,
    /// The file that holds it, where it is not one of pupctl's.
    pub file: Option<String>,
    /// Whether it runs in the transaction that records it.
    pub transaction: Transaction,
}

/// A step with its statements.
#[derive(Debug, Clone, Serialize)]
pub struct RenderedStep {
    /// What it does.
    pub title: String,
    /// Why.
    pub why: String,
    /// Whether the statements are one transaction.
    pub transaction: Transaction,
    /// Whether it destroys anything.
    pub destroys: bool,
    /// The statements.
    pub statements: Vec<Statement>,
    /// The migration, where the step is one: the runner applies it instead of the statements.
    #[serde(skip)]
    pub migration: Option<RenderedMigration>,
    /// How many partitions it makes.
    pub partitions: usize,
}

/// A plan as statements.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Script {
    /// The steps in order.
    pub steps: Vec<RenderedStep>,
}

impl Script {
    /// Renders a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut steps: Vec<_> = plan.steps.iter().map(step).collect();
        // refinery looks for its table before each migration; in a script once is enough.
        let mut seen = Vec::new();
        for step in &mut steps {
            let Some(migration) = &step.migration else { continue };
            if seen.contains(&migration.history) {
                step.statements.remove(0);
            } else {
                seen.push(migration.history.clone());
            }
        }
        Self { steps }
    }

    /// The script as text that psql runs as it is, each statement with its reason and locks.
    #[must_use]
    pub fn to_sql(&self, command: &str) -> String {
        let mut text = format!("-- pupctl {}\n\\set ON_ERROR_STOP on\n", quote::comment(command));
        let count = self.steps.len();
        for (position, step) in self.steps.iter().enumerate() {
            let title = quote::comment(&step.title);
            let why = quote::comment(&step.why);
            let _ = write!(text, "\n-- Step {} of {count}: {title}.\n", position + 1);
            let _ = writeln!(text, "-- Why: {why}.");
            step.write_sql(&mut text);
        }
        text
    }

    /// The same for what is more than its statements, such as copies in several sessions: psql does
    /// not run it.
    #[must_use]
    pub fn to_read(&self, command: &str) -> String {
        let command = quote::comment(command);
        format!(
            "-- For reading: only pupctl {command} itself copies and compares in between.\n\
             \\warn 'this is for reading: run pupctl {command}'\n\\quit\n\n{}",
            self.to_sql(&command)
        )
    }
}

impl RenderedStep {
    /// Statements in one transaction.
    #[must_use]
    pub fn transaction(
        title: impl Into<String>,
        why: impl Into<String>,
        destroys: bool,
        statements: Vec<Statement>,
    ) -> Self {
        Self {
            title: title.into(),
            why: why.into(),
            transaction: Transaction::Required,
            destroys,
            statements,
            migration: None,
            partitions: 0,
        }
    }

    fn write_sql(&self, text: &mut String) {
        let transaction = self.transaction == Transaction::Required;
        if transaction {
            text.push_str("BEGIN;\nSET LOCAL lock_timeout = '1s';\n");
        }
        if self.transaction == Transaction::Concurrent {
            text.push_str("SET lock_timeout = 0;\n");
        }
        for statement in &self.statements {
            let _ = writeln!(text, "-- {}.", quote::comment(&statement.why));
            for lock in &statement.locks {
                let on = quote::comment(&lock.on.to_string());
                let _ = writeln!(text, "-- Lock: {} on {on}.", lock.mode);
            }
            let sql = statement.sql.trim_end().trim_end_matches(';');
            text.push_str(sql);
            // What others wrote may end with a comment, in which a semicolon would be lost.
            let last = sql.lines().next_back().unwrap_or_default();
            text.push_str(if last.contains("--") { "\n;\n" } else { ";\n" });
        }
        if transaction {
            text.push_str("COMMIT;\n");
        }
        if self.migration.as_ref().is_some_and(|migration| migration.file.is_some()) {
            let _ = writeln!(text, "{};", include_str!("../../sql/migration/reset.sql").trim_end());
        }
    }
}

fn step(step: &Step) -> RenderedStep {
    let mut migration = None;
    let mut statements = Vec::new();
    for action in &step.actions {
        match action {
            Action::Migrate(wanted) => migration = Some(RenderedMigration::of(wanted, false)),
            Action::RecordMigration(wanted) => {
                migration = Some(RenderedMigration::of(wanted, true));
            }
            Action::MigrateFile { schema, file } => {
                migration = Some(RenderedMigration::of_file(schema, file));
            }
            other => statements.extend(action_statements(other)),
        }
    }
    if let Some(migration) = &migration {
        statements.extend(migration.statements());
    }
    let made = |action: &&Action| matches!(action, Action::CreatePartition(_));
    RenderedStep {
        title: step.title.clone(),
        why: step.why.clone(),
        transaction: step.transaction,
        destroys: step.destroys,
        statements,
        migration,
        partitions: step.actions.iter().filter(made).count(),
    }
}

pub(super) fn plain(sql: String, why: impl Into<String>) -> Statement {
    Statement { sql, why: why.into(), locks: Vec::new() }
}

fn action_statements(action: &Action) -> Vec<Statement> {
    match action {
        Action::CreateSchema(schema) => {
            vec![plain(render("table/schema", &values! { schema }), "The store lives in it")]
        }
        Action::StoreLayout { schema, layout } => vec![store_layout(schema, layout)],
        Action::LockParent(table) => vec![Statement {
            sql: render("table/lock_parent", &values! { table }),
            why: "Wait here, before any work; readers and writers go on".to_owned(),
            locks: vec![Lock { mode: LockMode::ShareUpdateExclusive, on: table.clone() }],
        }],
        Action::CreatePartition(partition) => create_partition(partition),
        Action::MarkUnfinished { branch: table, mark } => vec![plain(
            render("table/comment", &values! { table, comment => mark }),
            "If this run is interrupted, the next one finds the branch by this mark",
        )],
        Action::ClearUnfinished(table) => {
            vec![plain(render("table/clear_comment", &values! { table }), "The branch is whole")]
        }
        Action::Attach { parent, partition, bound, default, foreign_keys } => {
            let mut locks = vec![Lock { mode: LockMode::ShareUpdateExclusive, on: parent.clone() }];
            locks.extend(
                default
                    .iter()
                    .map(|default| Lock { mode: LockMode::AccessExclusive, on: default.clone() }),
            );
            locks.extend(
                foreign_keys
                    .iter()
                    .map(|other| Lock { mode: LockMode::ShareRowExclusive, on: other.clone() }),
            );
            let bounds = quoted(quote::bound(bound));
            vec![Statement {
                sql: render("partition/attach", &values! { parent, partition, bound => bounds }),
                why: format!("Rows of {bound} go to it from here on"),
                locks,
            }]
        }
        Action::Analyze { table, only } => vec![Statement {
            sql: render("table/analyze", &values! { table, only }),
            why: "Autovacuum never does it on a partitioned table".to_owned(),
            locks: vec![Lock { mode: LockMode::ShareUpdateExclusive, on: table.clone() }],
        }],
        Action::Protect(action) => protection::statements(action),
        Action::Index(action) => vec![super::index::statement(action)],
        Action::Lifecycle(action) => vec![super::lifecycle::statement(action)],
        Action::Align(alignment) => super::attach::align(alignment),
        Action::Admit(admission) => vec![super::attach::admit(admission)],
        // Rendered as a whole step, because refinery applies them.
        Action::Migrate(_) | Action::RecordMigration(_) | Action::MigrateFile { .. } => Vec::new(),
    }
}

fn store_layout(schema: &str, layout: &Layout) -> Statement {
    let table = layout_table(schema);
    let json = layout.to_json().to_string();
    plain(
        render("layout/store", &values! { table, layout => json }),
        "Later commands read the layout from here",
    )
}

fn create_partition(partition: &NewPartition) -> Vec<Statement> {
    let NewPartition { parent, name, level, keys, primary, bare, tablespace, .. } = partition;
    let kind = if level.is_some() { "branch" } else { "leaf" };
    let mut statements = vec![Statement {
        sql: render("partition/create", &values! { name, parent, level, bare, tablespace }),
        why: format!("A {kind} for {}, made beside its parent", partition.bound),
        locks: vec![Lock { mode: LockMode::AccessShare, on: parent.clone() }],
    }];
    if !keys.is_empty() {
        statements.push(plain(
            render("partition/keys", &values! { name, keys, primary }),
            "Its own keys, which the parent cannot have",
        ));
    }
    for &trigger in &partition.triggers {
        let action = Protect::Trigger { table: name.clone(), trigger, live: false };
        statements.extend(protection::statements(&action));
    }
    for grant in &partition.grants {
        let values = values! {
            name,
            privilege => grant.privilege,
            grantee => grant.grantee,
            grantable => grant.grantable,
        };
        statements.push(plain(render("partition/grant", &values), "As on its parent"));
    }
    if matches!(partition.replica_identity, ReplicaIdentity::Full | ReplicaIdentity::Nothing) {
        let full = partition.replica_identity == ReplicaIdentity::Full;
        statements.push(plain(
            render("partition/replica_identity", &values! { name, full }),
            "As on its parent",
        ));
    }
    // Last, since after it only a member of the owning role may change the table.
    if let Some(owner) = &partition.owner {
        statements
            .push(plain(render("partition/owner", &values! { name, owner }), "As on its parent"));
    }
    statements
}

/// What a migration locks that others can reach by then: the tables of the migrations before it.
fn migration_locks(wanted: &Migration) -> Vec<Lock> {
    let (schema, layout) = (wanted.schema.as_str(), &wanted.layout);
    let (mode, tables) = match (wanted.set, wanted.name) {
        (MigrationSet::Own, "operation_state") => {
            (LockMode::AccessExclusive, vec![operations_table(schema)])
        }
        (MigrationSet::Own, "projections") => {
            (LockMode::AccessExclusive, vec![layout.checkpoints(schema)])
        }
        (MigrationSet::Store, "indexes") => {
            let roots = [Role::Events, Role::Heads].map(|role| layout.table(schema, role));
            (LockMode::Share, [&roots[..], &[layout.checkpoints(schema)]].concat())
        }
        (MigrationSet::Store, "guard") => {
            (LockMode::ShareRowExclusive, vec![layout.table(schema, Role::Events)])
        }
        _ => return Vec::new(),
    };
    tables.into_iter().map(|on| Lock { mode, on }).collect()
}

/// The SQL of a migration of this version of pupctl.
#[must_use]
pub fn migration_sql(wanted: &Migration) -> String {
    let schema = wanted.schema.as_str();
    let layout = &wanted.layout;
    let level = |role| layout.levels_of(role).into_iter().next();
    let values: Value = values! {
        layout => layout_table(schema),
        operations => operations_table(schema),
        archives => archives_table(schema),
        closed => closed_table(schema),
        conversions => conversions_table(schema),
        conversion_ranges => conversion_ranges_table(schema),
        events => layout.table(schema, Role::Events),
        heads => layout.table(schema, Role::Heads),
        checkpoints => layout.checkpoints(schema),
        dead_letters => layout.dead_letters(schema),
        definitions => layout.definitions(schema),
        audit => layout.audit(schema),
        wait => wait_function(schema),
        json => json_function(schema),
        events_level => level(Role::Events),
        heads_level => level(Role::Heads),
        root_has_key => layout.root_has_key(Role::Events),
        triggers => layout.triggers(),
        guard => protection::function(schema, Trigger::Guard),
        event_ids => protection::event_ids_table(schema),
        keep_ids => protection::function(schema, Trigger::EventIds),
        immutable => protection::function(schema, Trigger::Immutable),
    };
    let folder = match wanted.set {
        MigrationSet::Own => "own",
        MigrationSet::Store => "store",
    };
    // As a file it ends with a newline, and refinery's checksum covers every byte.
    let sql = render(&format!("migration/{folder}/V{}__{}", wanted.version, wanted.name), &values);
    format!("{}\n", sql.trim_end())
}

impl RenderedMigration {
    /// A migration of pupctl's.
    #[must_use]
    pub fn of(wanted: &Migration, record_only: bool) -> Self {
        Self {
            migration: Self::unapplied(wanted.version, wanted.name, &migration_sql(wanted)),
            history: history_table(&wanted.schema, wanted.set),
            record_only,
            locks: migration_locks(wanted),
            file: None,
            transaction: Transaction::Required,
        }
    }

    /// A migration of a file.
    #[must_use]
    pub fn of_file(schema: &str, file: &MigrationFile) -> Self {
        Self {
            migration: Self::unapplied(file.version, &file.name, &file.sql),
            history: history_table(schema, MigrationSet::Store),
            record_only: false,
            locks: Vec::new(),
            file: Some(file.path.clone()),
            transaction: file.transaction,
        }
    }

    /// What refinery takes. `name` is of word characters, as everything that calls this has seen
    /// to.
    #[must_use]
    pub fn unapplied(version: i64, name: &str, sql: &str) -> refinery::Migration {
        let title = format!("V{version}__{name}");
        match refinery::Migration::unapplied(&title, sql) {
            Ok(migration) => migration,
            Err(error) => unreachable!("{title}: {error}"),
        }
    }

    /// What refinery will do, as statements, for `--dry-run`.
    fn statements(&self) -> Vec<Statement> {
        let history = &self.history;
        let values = values! {
            history,
            version => self.migration.version(),
            name => self.migration.name(),
            checksum => self.migration.checksum().to_string(),
        };
        let mut statements =
            vec![plain(render("migration/history", &values), "Where migrations are recorded")];
        if !self.record_only {
            let sql = self.migration.sql().unwrap_or_default().to_owned();
            statements.push(Statement {
                sql,
                why: format!("Migration {}", self.migration),
                locks: self.locks.clone(),
            });
        }
        if self.file.is_some() && self.transaction == Transaction::Required {
            let sql = include_str!("../../sql/migration/role.sql").to_owned();
            statements.push(plain(sql, "Whoever began it records it"));
        }
        let why = match self.transaction {
            Transaction::Required => "Recorded in the transaction that applies it",
            Transaction::Forbidden | Transaction::Concurrent => "Recorded when it is done",
        };
        statements.push(plain(render("migration/record", &values), why));
        statements
    }
}
