//! A SQL projection on a connection: where its names lead to, and the table of its batch.

use std::sync::atomic::AtomicBool;

use postgres::Client;

use crate::error::{Error, Kind, Result};
use crate::layout::name::QualifiedName;
use crate::projection::checkpoint::Tables;
use crate::projection::definition::{Event, HandlerError, Projection};
use crate::projection::transaction::Transaction;
use crate::render::environment::{render, values};
use crate::render::place::pointed;

use super::SqlProjection;
use super::file::{BATCH, Part};

/// A SQL projection on a connection.
#[derive(Debug)]
pub(in crate::projection) struct SqlSession {
    projection: SqlProjection,
    pub(super) events: QualifiedName,
    pub(super) dead_letters: QualifiedName,
    /// The columns of the events, which those of the batch are too.
    pub(super) columns: Vec<String>,
    /// The statements that handle a batch, as one text.
    handle: String,
    /// Whether the statements may do what the server does not tell beforehand: then each batch is
    /// looked at.
    pub(super) is_opaque: bool,
    /// Whether a batch with rows has shown which tables it writes.
    pub(super) proven: AtomicBool,
}

impl SqlSession {
    /// Makes the table of the batch, and leads the names of the projection to its tables.
    pub(in crate::projection) fn begin(
        client: &mut Client,
        projection: &SqlProjection,
        tables: &Tables,
    ) -> Result<Self> {
        set_path(client, projection, &tables.events.schema)?;
        let none: [String; 0] = [];
        let values = values! { events => tables.events, columns => none };
        let make = render("projection/sql/batch_table", &values);
        client.batch_execute(&make).map_err(no_batch)?;
        let columns = client
            .query(include_str!("../../../sql/projection/sql/batch_columns.sql"), &[])
            .map_err(no_batch)?;
        let handle: Vec<_> =
            projection.parsed.handle.iter().map(|part| part.sql.as_str()).collect();
        Ok(Self {
            projection: projection.clone(),
            events: tables.events.clone(),
            dead_letters: tables.dead_letters.clone(),
            columns: columns.iter().map(|row| row.get(0)).collect(),
            handle: handle.join(";\n"),
            is_opaque: true,
            proven: AtomicBool::new(false),
        })
    }

    /// Leaves the columns out of the batch that no statement uses: a third of the time goes into
    /// writing them. The server tells which those are, from version 14 on.
    pub(in crate::projection) fn narrow(mut self, client: &mut Client) -> Result<Self> {
        let used = match self.used(client) {
            Ok(used) => used,
            Err(error) if error.is_closed() => {
                return Err(Error::database("preparing the batch", error));
            }
            // An earlier server, or a statement that cannot stand in a function.
            Err(error) => {
                tracing::debug!(projection = self.projection.name(), "a wide batch: {error}");
                return Ok(self);
            }
        };
        let (used, is_opaque) = used;
        self.is_opaque = is_opaque;
        if used.is_empty() || used.len() == self.columns.len() {
            return Ok(self);
        }
        let drop = include_str!("../../../sql/projection/sql/drop_batch.sql");
        let values = values! { events => self.events, columns => used };
        let make = render("projection/sql/batch_table", &values);
        client.batch_execute(drop).map_err(no_batch)?;
        client.batch_execute(&make).map_err(no_batch)?;
        self.columns = used;
        Ok(self)
    }

    /// The columns that the statements use, and those that pupctl uses; and whether something may
    /// be done that the server cannot see, and so with all columns.
    fn used(&self, client: &mut Client) -> Result<(Vec<String>, bool), postgres::Error> {
        let mut transaction = client.transaction()?;
        let open = include_str!("../../../sql/projection/sql/probe.sql").trim_end();
        transaction.batch_execute(&format!("{open}\n{};\nEND", self.handle))?;
        let used = include_str!("../../../sql/projection/sql/used.sql");
        let rows = transaction.query(used, &[])?;
        transaction.rollback()?;
        let is_opaque = rows.iter().any(|row| row.get("is_opaque"));
        Ok((rows.iter().map(|row| row.get("name")).collect(), is_opaque))
    }

    /// What it runs.
    pub(in crate::projection) fn projection(&self) -> &SqlProjection {
        &self.projection
    }

    /// Runs the statements, all in one go.
    pub(super) fn handle_all(&self, tx: &mut Transaction<'_>) -> Result<(), postgres::Error> {
        tx.batch_execute(&self.handle)
    }

    /// Runs the statements one by one, so that the one is known which fails.
    fn handle_each(&self, tx: &mut Transaction<'_>) -> Result<()> {
        run_parts(&self.projection, tx, &self.projection.parsed.handle)
    }
}

impl Projection for SqlSession {
    fn name(&self) -> &str {
        self.projection.name()
    }

    fn bounded_contexts(&self) -> Vec<&str> {
        self.projection.contexts().iter().map(String::as_str).collect()
    }

    fn aggregate_types(&self) -> Vec<&str> {
        self.projection.aggregates().iter().map(String::as_str).collect()
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        self.handle_batch(tx, std::slice::from_ref(event))
    }

    /// A batch in which some event cannot be handled, or dead letters: chosen one by one.
    fn handle_batch(&self, tx: &mut Transaction<'_>, events: &[Event]) -> Result<(), HandlerError> {
        let values = values! { events => self.events, columns => self.columns };
        let positions: Vec<i64> = events.iter().map(|event| event.global_position).collect();
        let ids: Vec<_> = events.iter().map(|event| event.event_id).collect();
        tx.batch_execute(include_str!("../../../sql/projection/sql/empty_batch.sql"))?;
        tx.execute(&render("projection/sql/choose", &values), &[&positions, &ids])?;
        self.handle_each(tx)?;
        Ok(())
    }
}

/// Runs statements of a file; an error tells which one, and where.
pub(super) fn run_parts(
    projection: &SqlProjection,
    tx: &mut postgres::Transaction<'_>,
    parts: &[Part],
) -> Result<()> {
    for part in parts {
        tx.batch_execute(&part.sql).map_err(|error| located(projection, part, error))?;
    }
    Ok(())
}

/// What the server said about a statement, with its place in the file.
fn located(projection: &SqlProjection, part: &Part, error: postgres::Error) -> Error {
    let place = error.as_db_error().and_then(|error| match error.position() {
        // Counted in characters from 1.
        Some(postgres::error::ErrorPosition::Original(place)) => {
            part.sql.char_indices().nth(place.saturating_sub(1) as usize).map(|(at, _)| at)
        }
        _ => None,
    });
    let source = projection.source();
    let lines = pointed(source.file, source.text, part.start + place.unwrap_or(0));
    Error::database(&format!("running {}", source.file), error).details(lines)
}

/// Leads names to the tables of the read model first, then to those of the store, then to wherever
/// they led before.
pub(super) fn set_path(
    client: &mut impl postgres::GenericClient,
    projection: &SqlProjection,
    store: &str,
) -> Result<()> {
    let sql = include_str!("../../../sql/projection/sql/path.sql");
    let mut schemas: Vec<_> = projection.schema().into_iter().collect();
    schemas.extend(projection.home.as_deref());
    schemas.push(store);
    client
        .execute(sql, &[&schemas])
        .map(drop)
        .map_err(|error| Error::database("preparing the session", error))
}

pub(super) fn no_batch(error: postgres::Error) -> Error {
    let error = Error::database("making the table of the batch", error);
    match error.sqlstate() {
        Some("42501") => {
            error.hint("it needs the right to make temporary tables: GRANT TEMPORARY ON DATABASE")
        }
        // duplicate_table, wrong_object_type
        Some("42P07" | "42809") => {
            Error::new(Kind::Refused, format!("the session has a temporary table {BATCH} already"))
                .hint("connect directly, not through a pooler that keeps sessions")
        }
        _ => error,
    }
}
