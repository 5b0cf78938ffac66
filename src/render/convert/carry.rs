//! What a new, still empty and unreachable table gets so that it can take the place of another one.
//!
//! Expressions and definitions are the server's own text with every name qualified, as it printed
//! them for this table; nothing else passes unquoted.

use crate::catalog::surroundings::{Index, Policy, Surroundings};
use crate::layout::name::{QualifiedName, joined};
use crate::layout::{Layout, Role};
use crate::plan::convert::belongings::{Extra, extra_index};
use crate::render::Statement;
use crate::render::environment::{quoted, render, values};
use crate::render::index::Parameter;

/// Why most of it is done.
const AS_BEFORE: &str = "As on the old table";

/// The ending of names that indexes have until the swap.
const BUILDING: &str = "convert";

/// What the new parent gets before its partitions are made, beyond what LIKE takes over: defaults,
/// checks, computed columns, storage, compression and their comments. The comment of the table
/// comes in the swap, since until then it may say that the table is unfinished.
#[must_use]
pub fn onto(surroundings: &Surroundings, new: &QualifiedName) -> Vec<Statement> {
    let mut carry = Carry { new, statements: Vec::new() };
    let owner = &surroundings.table.owner;
    carry.add("partition/owner", &values! { name => new, owner }, "As that of the old table");
    carry.settings(surroundings);
    carry.row_security(surroundings);
    for label in &surroundings.labels {
        carry.add("convert/carry/label", &values! { table => new, label }, AS_BEFORE);
    }
    carry.grants(surroundings);
    carry.replica_identity(surroundings);
    carry.statements
}

/// What a leaf does not get from its parent: storage parameters, settings for the planner, and how
/// it is published. What new tables let others do by default is taken back where the old table
/// does not allow it.
#[must_use]
pub fn leaf(surroundings: &Surroundings, leaf: &QualifiedName) -> Vec<Statement> {
    let mut carry = Carry { new: leaf, statements: Vec::new() };
    let options = options(surroundings);
    if !options.is_empty() {
        let values = values! { table => leaf, options };
        carry.add("convert/carry/table_options", &values, "As those of the old table");
    }
    carry.settings(surroundings);
    carry.default_grants(surroundings);
    carry.replica_identity(surroundings);
    carry.statements
}

/// The storage parameters of the old table that its partitions get, `name=value`; those of its
/// TOAST table begin with `toast.`.
#[must_use]
pub fn leaf_options(surroundings: &Surroundings) -> Vec<String> {
    let facts = &surroundings.table;
    let toast = facts.toast_options.iter().map(|option| format!("toast.{option}"));
    facts.options.iter().cloned().chain(toast).collect()
}

/// An index of the old table that the layout does not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraIndex {
    /// Its name on the old table, and after the swap on the new one.
    pub name: String,
    /// Its name on the new table until the swap, as both are in one schema.
    pub building: String,
    /// Whether it is unique.
    pub unique: bool,
    /// From `USING` on, as the server prints it; it passes as it is.
    pub definition: String,
    /// Its comment.
    pub comment: Option<String>,
}

impl ExtraIndex {
    /// `CREATE INDEX` on the new table or one of its leaves, with `only` not on the partitions.
    #[must_use]
    pub fn create(&self, table: &QualifiedName, name: &str, only: bool) -> String {
        let (unique, definition) = (self.unique, quoted(self.definition.clone()));
        render("convert/carry/create_index", &values! { table, name, unique, definition, only })
    }

    /// Its name on a partition.
    #[must_use]
    pub fn name_on(&self, partition: &QualifiedName) -> String {
        joined(&partition.name, &self.name)
    }
}

/// The indexes that the new table gets beside those of the layout, to be built when the rows are
/// there.
#[must_use]
pub fn indexes_onto(layout: &Layout, role: Role, surroundings: &Surroundings) -> Vec<ExtraIndex> {
    let is_carried =
        |index: &&Index| extra_index(layout, role, surroundings, index) == Extra::Carried;
    let extra = |index: &Index| ExtraIndex {
        name: index.name.clone(),
        building: joined(&index.name, BUILDING),
        unique: index.unique,
        definition: index.definition.clone(),
        comment: index.comment.clone(),
    };
    surroundings.indexes.iter().filter(is_carried).map(extra).collect()
}

/// The new table, and what it gets.
struct Carry<'a> {
    new: &'a QualifiedName,
    statements: Vec<Statement>,
}

impl Carry<'_> {
    fn add(&mut self, template: &str, values: &minijinja::Value, why: &str) {
        let sql = render(template, values);
        self.statements.push(Statement { sql, why: why.to_owned(), locks: Vec::new() });
    }

    /// What the planner knows of columns.
    fn settings(&mut self, surroundings: &Surroundings) {
        let table = self.new;
        for column in &surroundings.columns {
            let name = &column.name;
            if let Some(target) = column.statistics {
                let values = values! { table, column => name, target };
                self.add("convert/carry/column_statistics", &values, AS_BEFORE);
            }
            let options = parameters(&column.options);
            if !options.is_empty() {
                let values = values! { table, column => name, options };
                self.add("convert/carry/column_options", &values, AS_BEFORE);
            }
        }
    }

    fn comment_on(&mut self, kind: &str, name: &str, comment: &str) {
        let relation: Option<&QualifiedName> = None;
        let values = values! { kind, relation, name, on => self.new, comment };
        self.add("convert/carry/comment", &values, AS_BEFORE);
    }

    fn row_security(&mut self, surroundings: &Surroundings) {
        let (table, facts) = (self.new, &surroundings.table);
        for (is, force) in [(facts.row_security, false), (facts.force_row_security, true)] {
            if is {
                self.add("convert/carry/row_security", &values! { table, force }, AS_BEFORE);
            }
        }
        for policy in &surroundings.policies {
            let expression = |text: &Option<String>| text.clone().map(quoted);
            let Policy { visible, writable, .. } = policy;
            let (visible, writable) = (expression(visible), expression(writable));
            let values = values! { table, policy, visible, writable };
            self.add("convert/carry/policy", &values, AS_BEFORE);
            if let Some(comment) = &policy.comment {
                self.comment_on("POLICY", &policy.name, comment);
            }
        }
    }

    fn grants(&mut self, surroundings: &Surroundings) {
        self.default_grants(surroundings);
        let table = self.new;
        for grant in &surroundings.table.grants {
            let (privilege, grantee) = (&grant.privilege, &grant.grantee);
            let values =
                values! { name => table, privilege, grantee, grantable => grant.grantable };
            self.add("partition/grant", &values, AS_BEFORE);
        }
        for own in &surroundings.table.column_grants {
            let (column, grantee) = (&own.column, &own.grant.grantee);
            let (privilege, grantable) = (&own.grant.privilege, own.grant.grantable);
            let values = values! { table, column, privilege, grantee, grantable };
            self.add("convert/carry/grant_column", &values, AS_BEFORE);
        }
    }

    /// Takes back what the defaults of the role gave with the table and the old one does not have.
    fn default_grants(&mut self, surroundings: &Surroundings) {
        let facts = &surroundings.table;
        let column: Option<&str> = None;
        for grant in &facts.default_grants {
            let same = facts
                .grants
                .iter()
                .find(|own| own.grantee == grant.grantee && own.privilege == grant.privilege);
            let option = match same {
                None => false,
                Some(own) if grant.grantable && !own.grantable => true,
                Some(_) => continue,
            };
            let (table, privilege, grantee) = (self.new, &grant.privilege, &grant.grantee);
            let values = values! { table, privilege, grantee, option, column };
            self.add("mend/revoke", &values, "A default for new tables that the old one has not");
        }
    }

    fn replica_identity(&mut self, surroundings: &Surroundings) {
        let identity = surroundings.table.replica_identity.as_str();
        if let "f" | "n" = identity {
            let values = values! { name => self.new, full => identity == "f" };
            self.add("partition/replica_identity", &values, "As that of the old table");
        }
    }
}

#[derive(serde::Serialize)]
struct TableOption {
    name: String,
    value: String,
    toast: bool,
}

fn options(surroundings: &Surroundings) -> Vec<TableOption> {
    let facts = &surroundings.table;
    let of = |list, toast| {
        let option = move |Parameter { name, value }| TableOption { name, value, toast };
        parameters(list).into_iter().map(option)
    };
    of(&facts.options, false).chain(of(&facts.toast_options, true)).collect()
}

/// `name=value`, divided.
pub(super) fn parameters(options: &[String]) -> Vec<Parameter> {
    let parameter = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Parameter { name: name.to_owned(), value: value.to_owned() }
    };
    options.iter().map(parameter).collect()
}
