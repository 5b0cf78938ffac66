//! Failures of a migration: which file, line and column, and what the server said.

use postgres::error::ErrorPosition;
use refinery::Migration;

use crate::error::{Error, Kind, chain};
use crate::plan::Transaction;
use crate::plan::init::is_own_name;
use crate::render::RenderedMigration;
use crate::render::place::pointed;
use crate::render::statements::Statement;

/// refinery hides the server's report behind "db error"; it is in the chain of causes.
pub(super) fn reported(error: &refinery::Error) -> Option<&postgres::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(found) = inner.downcast_ref::<postgres::Error>() {
            return Some(found);
        }
        cause = inner.source();
    }
    None
}

/// The failure of refinery, with the statement that failed.
pub(super) fn of_refinery(
    wanted: &RenderedMigration,
    statement: Option<&Statement<'_>>,
    error: refinery::Error,
) -> Error {
    let migration = &wanted.migration;
    match reported(&error) {
        Some(reported) => of_server(wanted, statement, reported).because(error),
        None => Error::refused(format!("failed while {}: {}", doing(migration), chain(&error))),
    }
}

/// The failure of the server.
pub(super) fn of_server(
    wanted: &RenderedMigration,
    statement: Option<&Statement<'_>>,
    reported: &postgres::Error,
) -> Error {
    let error = Error::reported(&doing(&wanted.migration), reported);
    let Some(file) = &wanted.file else { return error };
    let error =
        located(error, file, wanted.migration.sql().unwrap_or_default(), statement, reported);
    hinted(error, wanted)
}

/// A failure before the statement, with its place.
pub(super) fn at(error: Error, wanted: &RenderedMigration, statement: &Statement<'_>) -> Error {
    let Some(file) = &wanted.file else { return error };
    let sql = wanted.migration.sql().unwrap_or_default();
    pointed(file, sql, statement.start).into_iter().fold(error, Error::detail)
}

/// The failure of what follows the statements of a file: the row that records it, the commit.
pub(super) fn of_recording(error: Error) -> Error {
    match error.sqlstate() {
        // read_only_sql_transaction
        Some("25006") => error.hint(
            "the file makes its transaction read-only, so that it cannot be recorded: leave that \
             out",
        ),
        // insufficient_privilege, invalid_role_specification
        Some("42501" | "22023" | "0P000") => error.hint(
            "the file changes the role, or its rights, so that it cannot be recorded: leave that \
             out, or put the role back at its end",
        ),
        _ => error,
    }
}

fn doing(migration: &Migration) -> String {
    format!("applying migration {migration}")
}

/// Adds the place: `path:line:column`, the line, and a caret below.
fn located(
    error: Error,
    file: &str,
    sql: &str,
    statement: Option<&Statement<'_>>,
    reported: &postgres::Error,
) -> Error {
    let Some(statement) = statement else { return error.detail(file) };
    let position = reported.as_db_error().and_then(|reported| reported.position());
    let (offset, inner) = match position {
        // Counted in characters from 1.
        Some(ErrorPosition::Original(position)) => (position.saturating_sub(1), None),
        Some(ErrorPosition::Internal { query, .. }) => (0, Some(query)),
        None => (0, None),
    };
    let within = statement.sql.char_indices().nth(offset as usize);
    let place = statement.start + within.map_or(statement.sql.len(), |(place, _)| place);
    let error = pointed(file, sql, place).into_iter().fold(error, Error::detail);
    match inner {
        Some(query) => error.detail(format!("in the query: {query}")),
        None => error,
    }
}

fn hinted(error: Error, wanted: &RenderedMigration) -> Error {
    let migration = &wanted.migration;
    let own = is_own_name(migration.version(), migration.name());
    let hint = match error.sqlstate() {
        _ if error.kind() == Kind::Connection => "run it again: it finds out what was done",
        // active_sql_transaction
        Some("25001") => {
            "put the statement into a file of its own, whose first line is \
             `-- pupctl: no-transaction`"
        }
        // duplicate_table
        Some("42P07") if own => {
            "tables that are there already are taken over by: pupctl schema baseline"
        }
        _ if error.hint_text().is_some() => return error,
        _ if wanted.transaction != Transaction::Required => {
            "mend it, and run the command again: what it left is looked up first"
        }
        _ => "nothing of this file was kept: mend it, and run the command again",
    };
    error.hint(hint)
}
