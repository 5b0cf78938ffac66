//! Exchanging the rows of tables that stay. By DELETE, not TRUNCATE: nobody waits, and whoever has
//! an older snapshot sees the old rows to its end.

use postgres::Transaction;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::projection::control::change::writing;
use crate::render::Statement;
use crate::render::environment::{render, values};

use super::objects::{self, Object};
use super::shadow::Shadow;

/// The statements that empty the old tables and fill them with the rows of the new ones.
pub(super) fn exchange(
    transaction: &mut Transaction<'_>,
    shadow: &Shadow,
    new: &[Object],
) -> Result<Vec<Statement>> {
    let is_root = |object: &&Object| object.is_table() && !object.partition;
    let tables: Vec<_> =
        new.iter().filter(is_root).map(|object| object.name.name.clone()).collect();
    let Shadow { live_schema, schema, .. } = shadow;
    refuse_different(transaction, shadow, &tables)?;
    refuse_referenced(transaction, shadow, &tables)?;
    let tables = referenced_first(transaction, schema, tables)?;
    let names: Vec<_> = tables.iter().map(|table| QualifiedName::new(live_schema, table)).collect();
    let mut statements = Vec::new();
    for target in names.iter().rev() {
        let sql = render("projection/rebuild/empty", &values! { target });
        statements.push(writing(sql, "The old rows: readers see them until the commit", target));
    }
    let sql = include_str!("../../../sql/projection/rebuild/columns.sql");
    for (table, target) in tables.iter().zip(&names) {
        let row = transaction.query_one(sql, &[&live_schema, &table]).map_err(objects::failed)?;
        let columns: Vec<String> = row.get("columns");
        let source = QualifiedName::new(schema, table);
        let values = values! { target, source, columns };
        let sql = render("projection/rebuild/copy", &values);
        statements.push(writing(sql, "The rows that were made anew", target));
    }
    let sql = include_str!("../../../sql/projection/rebuild/sequences.sql");
    for row in transaction.query(sql, &[&live_schema, &schema]).map_err(objects::failed)? {
        let target = QualifiedName::new(live_schema, row.get::<_, String>("target"));
        let source = QualifiedName::new(schema, row.get::<_, String>("source"));
        statements.push(Statement {
            sql: render("projection/rebuild/set_sequence", &values! { target, source }),
            why: "Numbers go on after those of the rows".to_owned(),
            locks: Vec::new(),
        });
    }
    Ok(statements)
}

/// Tables in the order in which they are filled: those that others refer to come first.
fn referenced_first(
    transaction: &mut Transaction<'_>,
    schema: &str,
    mut left: Vec<String>,
) -> Result<Vec<String>> {
    let sql = include_str!("../../../sql/projection/rebuild/own_references.sql");
    let rows = transaction.query(sql, &[&schema]).map_err(objects::failed)?;
    let references: Vec<(String, String)> =
        rows.iter().map(|row| (row.get("source"), row.get("target"))).collect();
    let mut ordered: Vec<String> = Vec::new();
    while !left.is_empty() {
        let waits = |table: &String| {
            references.iter().any(|(source, target)| source == table && left.contains(target))
        };
        // Where they refer to each other in a circle, the server has the last word.
        let next = left.iter().position(|table| !waits(table)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    Ok(ordered)
}

/// Rows that others refer to cannot be exchanged; or theirs would be deleted along.
fn refuse_referenced(
    transaction: &mut Transaction<'_>,
    shadow: &Shadow,
    tables: &[String],
) -> Result<()> {
    let schemas = vec![shadow.live_schema.as_str(); tables.len()];
    let sql = include_str!("../../../sql/projection/references.sql");
    let rows = transaction.query(sql, &[&schemas, &tables]).map_err(objects::failed)?;
    if rows.is_empty() {
        return Ok(());
    }
    let words = |row: &postgres::Row| {
        let text = |column: &str| row.get::<_, String>(column);
        format!("{}.{} by {}", text("schema"), text("name"), text("key"))
    };
    Err(Error::refused(format!(
        "other tables refer to the rows of {}, so they cannot be exchanged",
        shadow.live.name()
    ))
    .details(rows.iter().map(words))
    .hint("drop these foreign keys first, and make them again afterwards"))
}

/// The tables have to be there, with the same columns.
fn refuse_different(
    transaction: &mut Transaction<'_>,
    shadow: &Shadow,
    tables: &[String],
) -> Result<()> {
    let sql = include_str!("../../../sql/projection/rebuild/differences.sql");
    let rows = transaction
        .query(sql, &[&shadow.live_schema, &shadow.schema, &tables])
        .map_err(objects::failed)?;
    if rows.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the tables of {} are not as the file makes them, so rows cannot be exchanged in place",
        shadow.live.name()
    ))
    .details(rows.iter().map(|row| row.get::<_, String>(0)))
    .hint("change the tables first, or leave out --in-place"))
}
