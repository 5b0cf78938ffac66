//! Statements that make a partition like its parent again, as people run them: with semicolons.

use crate::catalog::Column;
use crate::catalog::relation::{ColumnGrant, Grant, ReplicaIdentity};
use crate::layout::name::QualifiedName;
use crate::plan::Plan;

use super::environment::{quoted, values};
use super::index::Parameter;
use super::{Script, statement};

/// The default of a column, or none. The expression is the server's own, or pupctl's.
#[must_use]
pub fn column_default(
    table: &QualifiedName,
    column: &str,
    expression: Option<&str>,
    only: bool,
) -> String {
    let expression = quoted(expression.unwrap_or_default().to_owned());
    statement("mend/column_default", &values! { table, column, expression, only })
}

/// A column like one that is there.
#[must_use]
pub fn add_column(table: &QualifiedName, like: &Column) -> String {
    let (column, kind) = (&like.name, quoted(like.data_type.clone()));
    statement("mend/add_column", &values! { table, column, type => kind })
}

/// The type of a column, and its collation, like those of another.
#[must_use]
pub fn column_type(table: &QualifiedName, like: &Column) -> String {
    let (column, kind) = (&like.name, quoted(like.data_type.clone()));
    let collation = &like.collation;
    statement("mend/column_type", &values! { table, column, type => kind, collation })
}

/// The end of a column's own numbers.
#[must_use]
pub fn drop_identity(table: &QualifiedName, column: &str) -> String {
    statement("mend/drop_identity", &values! { table, column })
}

/// Whether a column refuses NULL.
#[must_use]
pub fn column_not_null(table: &QualifiedName, column: &str, not_null: bool) -> String {
    statement("mend/column_not_null", &values! { table, column, not_null })
}

/// The end of a constraint.
#[must_use]
pub fn drop_constraint(table: &QualifiedName, constraint: &str) -> String {
    statement("mend/drop_constraint", &values! { table, constraint })
}

/// The check of the rows that were there before a constraint.
#[must_use]
pub fn validate_constraint(table: &QualifiedName, constraint: &str) -> String {
    statement("mend/validate_constraint", &values! { table, constraint })
}

/// The owner of a table.
#[must_use]
pub fn owner(table: &QualifiedName, owner: &str) -> String {
    statement("partition/owner", &values! { name => table, owner })
}

/// A privilege on a table.
#[must_use]
pub fn grant(table: &QualifiedName, grant: &Grant) -> String {
    let Grant { grantee, privilege, grantable } = grant;
    statement("partition/grant", &values! { name => table, privilege, grantee, grantable })
}

/// The end of a privilege, or with `option` of the right to pass it on.
#[must_use]
pub fn revoke(table: &QualifiedName, grant: &Grant, option: bool) -> String {
    let Grant { grantee, privilege, .. } = grant;
    let column: Option<&str> = None;
    statement("mend/revoke", &values! { table, privilege, grantee, option, column })
}

/// The end of a privilege on a column.
#[must_use]
pub fn revoke_column(table: &QualifiedName, grant: &ColumnGrant) -> String {
    let ColumnGrant { column, grant: Grant { grantee, privilege, .. } } = grant;
    let option = false;
    statement("mend/revoke", &values! { table, privilege, grantee, option, column })
}

/// The end of a rule.
#[must_use]
pub fn drop_rule(table: &QualifiedName, rule: &str) -> String {
    statement("mend/drop_rule", &values! { table, rule })
}

/// The statements that give a table or an index the storage parameters `wanted` in place of those
/// that it has, all as `name=value`.
#[must_use]
pub fn parameters(
    name: &QualifiedName,
    index: bool,
    have: &[String],
    wanted: &[String],
) -> Vec<String> {
    let parameter = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Parameter { name: name.to_owned(), value: value.to_owned() }
    };
    let is_named = |list: &[String], name: &str| list.iter().any(|p| parameter(p).name == name);
    let set: Vec<_> = wanted.iter().filter(|w| !have.contains(w)).map(parameter).collect();
    let reset: Vec<_> =
        have.iter().map(parameter).filter(|have| !is_named(wanted, &have.name)).collect();
    [(true, set), (false, reset)]
        .into_iter()
        .filter(|(_, parameters)| !parameters.is_empty())
        .map(|(set, parameters)| {
            statement("mend/parameters", &values! { name, index, set, parameters })
        })
        .collect()
}

/// How the updates and deletes of a table are published.
#[must_use]
pub fn replica_identity(table: &QualifiedName, identity: ReplicaIdentity) -> String {
    let identity = match identity {
        ReplicaIdentity::Full => "FULL",
        ReplicaIdentity::Nothing => "NOTHING",
        // An index of the parent has no name that holds for a partition.
        ReplicaIdentity::Default | ReplicaIdentity::Index => "DEFAULT",
    };
    statement("mend/replica_identity", &values! { table, identity })
}

/// A table in a publication.
#[must_use]
pub fn publish(publication: &str, table: &QualifiedName) -> String {
    statement("mend/publish", &values! { publication, table })
}

/// The end of row security on a table, or with `forced` of its hold on the owner.
#[must_use]
pub fn row_security(table: &QualifiedName, forced: bool) -> String {
    let action = if forced { "NO FORCE" } else { "DISABLE" };
    statement("mend/row_security", &values! { table, action })
}

/// The write-ahead log for a table that a crash would empty.
#[must_use]
pub fn logged(table: &QualifiedName) -> String {
    statement("mend/logged", &values! { table })
}

/// `DROP INDEX`, with readers and writers going on where the table is a leaf.
#[must_use]
pub fn drop_index(index: &QualifiedName, concurrently: bool) -> String {
    statement("index/drop", &values! { index, concurrently })
}

/// The statements of a plan.
#[must_use]
pub fn statements(plan: &Plan) -> Vec<String> {
    let steps = Script::of(plan).steps.into_iter();
    steps.flat_map(|step| step.statements).map(|statement| format!("{};", statement.sql)).collect()
}
