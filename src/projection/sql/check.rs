//! What a SQL projection may write: its own tables. The locks that it takes tell.

use postgres::GenericClient;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::render::quote;

use super::SqlProjection;

/// Refuses a transaction in which the projection has locked more than its own tables. `mine` are
/// tables that the transaction works on for other reasons.
pub(super) fn refuse_others(
    client: &mut impl GenericClient,
    projection: &SqlProjection,
    schema: &str,
    mine: &[&QualifiedName],
) -> Result<()> {
    let mine: Vec<_> = mine.iter().map(|table| quote::table(table)).collect();
    let sql = include_str!("../../../sql/projection/sql/locks.sql");
    let rows = client
        .query(sql, &[&schema, &projection.tables(), &mine])
        .map_err(|error| Error::database("looking what the projection has locked", error))?;
    if rows.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = rows
        .iter()
        .map(|row| {
            let table = QualifiedName::new(row.get::<_, String>(0), row.get::<_, String>(1));
            (table, row.get::<_, String>(2))
        })
        .collect();
    let own: Vec<_> = projection.tables().iter().map(|name| quote::shown(name)).collect();
    let (first, _) = &named[0];
    Err(Error::refused(format!(
        "the projection {} writes {first}, which is none of its tables",
        projection.name()
    ))
    .details(named.iter().map(|(table, mode)| format!("{table} is locked: {mode}")))
    .detail(format!("its tables are {}, in the schema {schema}", own.join(", ")))
    .hint(format!(
        "a projection writes nothing but its read model: name the table under -- tables: in {}, \
         without its schema, if it is a part of that",
        projection.file()
    )))
}
