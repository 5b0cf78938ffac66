//! What a new, still empty and unreachable table gets so that it can take the place of another one.
//!
//! Expressions and definitions are the server's own text with every name qualified, as it printed
//! them for this table; nothing else passes unquoted.

use crate::catalog::surroundings::{Column, Index, Policy, Surroundings};
use crate::layout::name::{QualifiedName, joined};
use crate::layout::{Layout, Role};
use crate::plan::convert::belongings::{Extra, StoreColumn, extra_index, store_columns};
use crate::render::Statement;
use crate::render::environment::{quoted, render, values};
use crate::render::index::Parameter;

/// The ending of names that indexes have until the swap.
const BUILDING: &str = "convert";

/// What the new parent gets before its partitions are made: they are made LIKE it. Only the comment
/// of the table comes in the swap, since until then it may say that the table is unfinished.
#[must_use]
pub fn onto(role: Role, surroundings: &Surroundings, new: &QualifiedName) -> Vec<Statement> {
    let facts = &surroundings.table;
    let mut carry = Carry { new, statements: Vec::new() };
    let owner = &facts.owner;
    carry.add("partition/owner", &values! { name => new, owner }, "As that of the old table");
    if let Some(tablespace) = &facts.tablespace {
        let values = values! { table => new, tablespace };
        carry.add("convert/tablespace", &values, "Its partitions are made there");
    }
    columns(&mut carry, role, surroundings);
    for column in &surroundings.columns {
        carry.settings(column, true);
    }
    for constraint in surroundings.constraints.iter().filter(|one| one.kind == "c") {
        let (name, definition) = (&constraint.name, quoted(constraint.definition.clone()));
        let values = values! { table => new, name, definition };
        carry.add("convert/add_constraint", &values, "There are no rows to check");
        if let Some(comment) = &constraint.comment {
            carry.comment_on("CONSTRAINT", &constraint.name, comment);
        }
    }
    carry.row_security(surroundings);
    for label in &surroundings.labels {
        carry.add("convert/label", &values! { table => new, label }, "As on the old table");
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
        carry.add("convert/table_options", &values, "As those of the old table");
    }
    for column in &surroundings.columns {
        carry.settings(column, false);
    }
    carry.default_grants(surroundings);
    carry.replica_identity(surroundings);
    carry.statements
}

/// The storage parameters of the old table that its partitions get, `name=value`; those of its TOAST
/// table begin with `toast.`.
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
        render("convert/create_index", &values! { table, name, unique, definition, only })
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

    /// What the server knows of a column beside its type. How values are stored is taken over by
    /// LIKE; a parent has it for that.
    fn settings(&mut self, column: &Column, parent: bool) {
        let (table, name) = (self.new, &column.name);
        if let Some(target) = column.statistics {
            let values = values! { table, column => name, target };
            self.add("convert/column_statistics", &values, "As on the old table");
        }
        let options = parameters(&column.options);
        if !options.is_empty() {
            let values = values! { table, column => name, options };
            self.add("convert/column_options", &values, "As on the old table");
        }
        if !parent {
            return;
        }
        let ways = [("STORAGE", &column.storage), ("COMPRESSION", &column.compression)];
        for (what, value) in ways {
            if let Some(value) = value {
                let value = quoted(value.to_ascii_lowercase());
                let values = values! { table, column => name, what, value };
                self.add("convert/column_storage", &values, "As on the old table");
            }
        }
        if let Some(comment) = &column.comment {
            let (kind, relation) = ("COLUMN", Some(table));
            let values = values! { kind, relation, name, comment };
            self.add("convert/comment", &values, "As on the old table");
        }
    }

    fn comment_on(&mut self, kind: &str, name: &str, comment: &str) {
        let relation: Option<&QualifiedName> = None;
        let values = values! { kind, relation, name, on => self.new, comment };
        self.add("convert/comment", &values, "As on the old table");
    }

    fn row_security(&mut self, surroundings: &Surroundings) {
        let (table, facts) = (self.new, &surroundings.table);
        for (is, force) in [(facts.row_security, false), (facts.force_row_security, true)] {
            if is {
                self.add("convert/row_security", &values! { table, force }, "As on the old table");
            }
        }
        for policy in &surroundings.policies {
            let expression = |text: &Option<String>| text.clone().map(quoted);
            let Policy { visible, writable, .. } = policy;
            let (visible, writable) = (expression(visible), expression(writable));
            let values = values! { table, policy, visible, writable };
            self.add("convert/policy", &values, "As on the old table");
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
            self.add("partition/grant", &values, "As on the old table");
        }
        for own in &surroundings.table.column_grants {
            let (column, grantee) = (&own.column, &own.grant.grantee);
            let (privilege, grantable) = (&own.grant.privilege, own.grant.grantable);
            let values = values! { table, column, privilege, grantee, grantable };
            self.add("convert/grant_column", &values, "As on the old table");
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

/// Columns beyond the store's, and in what the store's differ from fresh ones.
fn columns(carry: &mut Carry<'_>, role: Role, surroundings: &Surroundings) {
    let table = carry.new;
    for column in &surroundings.columns {
        let expression = quoted(column.default.clone().unwrap_or_default());
        let collation = &column.collation;
        let Some(store) = store_columns(role).iter().find(|own| own.name == column.name) else {
            let (generated, stored) = (!column.generated.is_empty(), column.generated == "s");
            let values = values! { table, column, collation, expression, generated, stored };
            carry.add("convert/add_column", &values, "The old table has it");
            continue;
        };
        let StoreColumn { name, .. } = store;
        if collation.is_some() {
            let values = values! { table, column, collation };
            carry.add("convert/column_collation", &values, "As on the old table");
        }
        if column.default.as_deref() != store.default {
            let values = values! { table, column => name, expression, only => true };
            carry.add("mend/column_default", &values, "As on the old table");
        }
        if column.not_null && !store.not_null {
            let values = values! { table, column => name, not_null => true };
            carry.add("mend/column_not_null", &values, "As on the old table");
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
