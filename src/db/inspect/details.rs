//! What only some commands ask of the catalog: definitions of indexes, and what partitions are
//! compared in with their parents.

use std::collections::{BTreeSet, HashMap};

use postgres::types::Oid;
use postgres::{Row, Transaction};

use crate::catalog::Column;
use crate::catalog::index::Index;
use crate::catalog::relation::{ColumnGrant, Constraint, Details, Grant};
use crate::error::Result;
use crate::layout::name::QualifiedName;

use super::failed;

/// Adds to the indexes of these relations what is read of them beyond their columns.
pub(super) fn add_definitions(
    transaction: &mut Transaction<'_>,
    oids: &[Oid],
    indexes: &mut HashMap<Oid, Vec<Index>>,
) -> Result<()> {
    let sql = include_str!("../../../sql/catalog/index_definitions.sql");
    let rows = transaction.query(sql, &[&oids]).map_err(failed)?;
    let mut by_oid: HashMap<Oid, &mut Index> =
        indexes.values_mut().flatten().map(|index| (index.oid, index)).collect();
    for row in &rows {
        let Some(index) = by_oid.get_mut(&row.get("oid")) else { continue };
        index.definition = row.get("definition");
        index.constraint = row.get("constraint");
        index.replica_identity = row.get("replica_identity");
    }
    Ok(())
}

/// The names of all relations of the schema.
pub(super) fn taken_names(
    transaction: &mut Transaction<'_>,
    schema: &str,
) -> Result<BTreeSet<String>> {
    let sql = include_str!("../../../sql/catalog/taken_names.sql");
    let rows = transaction.query(sql, &[&schema]).map_err(failed)?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}

/// The details of these relations.
pub(super) fn read(
    transaction: &mut Transaction<'_>,
    oids: &[Oid],
) -> Result<HashMap<Oid, Details>> {
    let mut all = |sql| transaction.query(sql, &[&oids]).map_err(failed);
    let rows = all(include_str!("../../../sql/catalog/details.sql"))?;
    let mut found: HashMap<Oid, Details> =
        rows.iter().map(|row| (row.get("oid"), details(row))).collect();
    for row in &all(include_str!("../../../sql/catalog/partition_columns.sql"))? {
        if let Some(details) = found.get_mut(&row.get("relation")) {
            details.columns.push(column(row));
        }
    }
    for row in &all(include_str!("../../../sql/catalog/constraints.sql"))? {
        if let Some(details) = found.get_mut(&row.get("relation")) {
            details.constraints.push(constraint(row));
        }
    }
    for row in &all(include_str!("../../../sql/catalog/publications.sql"))? {
        if let Some(details) = found.get_mut(&row.get("relation")) {
            details.publications.push(row.get("publication"));
        }
    }
    Ok(found)
}

fn details(row: &Row) -> Details {
    let mut options: Vec<String> = row.get("options");
    options.sort();
    Details {
        options,
        grants: grants(row.get("grants")),
        column_grants: column_grants(row.get("column_grants")),
        rules: row.get("rules"),
        force_row_security: row.get("force_row_security"),
        unlogged: row.get("unlogged"),
        ..Details::default()
    }
}

fn constraint(row: &Row) -> Constraint {
    Constraint {
        name: row.get("name"),
        kind: row.get("kind"),
        columns: row.get("columns"),
        definition: row.get("definition"),
        valid: row.get("valid"),
        inherited: row.get("inherited"),
        references: row
            .get::<_, Option<String>>("other_schema")
            .zip(row.get::<_, Option<String>>("other"))
            .map(|(schema, name)| QualifiedName::new(schema, name)),
    }
}

pub(super) fn column(row: &Row) -> Column {
    Column {
        name: row.get("name"),
        data_type: row.get("data_type"),
        not_null: row.get("not_null"),
        default: row.get("default"),
        generated: row.get("generated"),
        identity: row.get("identity"),
        collation: row.get("collation"),
    }
}

pub(super) fn grants(value: Option<serde_json::Value>) -> Vec<Grant> {
    let Some(serde_json::Value::Array(list)) = value else { return Vec::new() };
    list.iter().filter_map(grant).collect()
}

fn grant(value: &serde_json::Value) -> Option<Grant> {
    Some(Grant {
        grantee: value.get("grantee")?.as_str().map(str::to_owned),
        privilege: value.get("privilege")?.as_str()?.to_owned(),
        grantable: value.get("grantable")?.as_bool()?,
    })
}

fn column_grants(value: Option<serde_json::Value>) -> Vec<ColumnGrant> {
    let Some(serde_json::Value::Array(list)) = value else { return Vec::new() };
    list.iter()
        .filter_map(|one| {
            let column = one.get("column")?.as_str()?.to_owned();
            Some(ColumnGrant { column, grant: grant(one)? })
        })
        .collect()
}
