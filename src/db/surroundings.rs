//! Reads what hangs on a table.

use postgres::GenericClient;
use postgres::types::{Oid, ToSql};
use serde::de::DeserializeOwned;

use crate::catalog::surroundings::{Facts, Surroundings};
use crate::error::{Error, Kind, Result};
use crate::layout::name::QualifiedName;

/// A query that gives one JSON object a row; its parameter is the OID of the table.
macro_rules! list {
    ($client:expr, $oid:expr, $file:literal) => {
        rows($client, include_str!($file), &[&$oid])
    };
}

/// What hangs on a table, in a constant number of queries. In a transaction it sees what that one
/// sees, and leaves the transaction's settings as they were.
pub fn surroundings(
    client: &mut impl GenericClient,
    table: &QualifiedName,
) -> Result<Surroundings> {
    // A part of a transaction that is given up in the end takes its settings along.
    let mut client = client.transaction().map_err(failed)?;
    let client = &mut client;
    // Nothing is on the path, so that the server qualifies every name.
    client
        .batch_execute(include_str!("../../sql/convert/surroundings/path.sql"))
        .map_err(failed)?;
    let sql = include_str!("../../sql/convert/surroundings/table.sql");
    let mut facts: Vec<Facts> = rows(client, sql, &[&table.schema, &table.name])?;
    let Some(facts) = facts.pop() else {
        return Err(Error::refused(format!("there is no table {table}"))
            .hint("name the schema and the tables: --schema, [tables] in pupctl.toml"));
    };
    let oid: Oid = facts.oid;
    Ok(Surroundings {
        name: table.clone(),
        columns: list!(client, oid, "../../sql/convert/surroundings/columns.sql")?,
        constraints: list!(client, oid, "../../sql/convert/surroundings/constraints.sql")?,
        references: list!(client, oid, "../../sql/convert/surroundings/references.sql")?,
        indexes: list!(client, oid, "../../sql/convert/surroundings/indexes.sql")?,
        statistics: list!(client, oid, "../../sql/convert/surroundings/statistics.sql")?,
        triggers: list!(client, oid, "../../sql/convert/surroundings/triggers.sql")?,
        rules: list!(client, oid, "../../sql/convert/surroundings/rules.sql")?,
        policies: list!(client, oid, "../../sql/convert/surroundings/policies.sql")?,
        views: list!(client, oid, "../../sql/convert/surroundings/views.sql")?,
        routines: list!(client, oid, "../../sql/convert/surroundings/routines.sql")?,
        others: list!(client, oid, "../../sql/convert/surroundings/others.sql")?,
        publications: list!(client, oid, "../../sql/convert/surroundings/publications.sql")?,
        subscriptions: list!(client, oid, "../../sql/convert/surroundings/subscriptions.sql")?,
        sequences: list!(client, oid, "../../sql/convert/surroundings/sequences.sql")?,
        labels: list!(client, oid, "../../sql/convert/surroundings/labels.sql")?,
        table: facts,
    })
}

fn rows<T: DeserializeOwned>(
    client: &mut impl GenericClient,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<T>> {
    let found = client.query(sql, parameters).map_err(failed)?;
    let values = found.iter().map(|row| serde_json::from_value(row.get(0)));
    values.collect::<Result<_, _>>().map_err(|error| {
        // A bug of the query, which the tests find.
        Error::new(Kind::Database, format!("failed while reading what hangs on a table: {error}"))
    })
}

fn failed(error: postgres::Error) -> Error {
    Error::database("reading what hangs on a table", error)
}
