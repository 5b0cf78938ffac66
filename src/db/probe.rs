//! Asks the server what it makes of an index, before anything of the store is changed.

use postgres::Client;
use postgres::types::Oid;

use crate::error::{Error, Kind, Result};
use crate::layout::name::QualifiedName;
use crate::render::index::{Request, probe, probe_table};

use super::inspect;

/// How long to wait for a table that somebody holds.
const SETTINGS: &str = "SET LOCAL lock_timeout = '10s'";

/// The names in a definition must not depend on the role's settings.
const PIN: &str = "SET LOCAL search_path = pg_catalog; SET LOCAL quote_all_identifiers = off";

/// What an index is, from `USING` on, as the server prints it: made on an empty copy of the table
/// in a transaction that is rolled back. A request that cannot work fails here.
pub fn index_definition(
    client: &mut Client,
    table: &QualifiedName,
    request: &Request,
) -> Result<String> {
    if inspect::server(client)?.read_only {
        return Err(Error::refused("the server takes no writes, so it cannot try the index out")
            .hint("connect to the primary server"));
    }
    let failed = |error: postgres::Error| -> Error {
        let error = Error::database(&format!("trying the index out on a copy of {table}"), error);
        match error.sqlstate() {
            Some("55P03") => Error::new(Kind::LockTimeout, format!("{table} is locked"))
                .hint("run the command again when whoever holds it is done")
                .because(error),
            Some("42501") => {
                error.hint("the role needs the right to make temporary tables in the database")
            }
            // Wrong columns, methods, parameters or conditions are the request's.
            Some(code) if code.starts_with("42") || code.starts_with("22") => {
                let hint = error.hint_text().map(str::to_owned);
                let invalid = Error::invalid(error.message().to_owned())
                    .details(error.detail_lines().to_vec());
                hint.into_iter().fold(invalid, Error::hint).because(error)
            }
            _ => error,
        }
    };
    let mut transaction = client.transaction().map_err(failed)?;
    transaction.batch_execute(SETTINGS).map_err(failed)?;
    transaction.batch_execute(&probe_table(table)).map_err(failed)?;
    // Prepared, so that a condition can never be more than one statement.
    transaction.execute(&probe(request), &[]).map_err(failed)?;
    transaction.batch_execute(PIN).map_err(failed)?;
    let sql = include_str!("../../sql/catalog/probe.sql");
    let table: Oid = transaction.query_one(sql, &[]).map_err(failed)?.get("oid");
    let sql = include_str!("../../sql/catalog/index_definitions.sql");
    let row = transaction.query_one(sql, &[&[table].as_slice()]).map_err(failed)?;
    let definition = row.get("definition");
    transaction.rollback().map_err(failed)?;
    Ok(definition)
}
