//! Appends events to a store and reads them, each in one round trip.
//!
//! A [`Store`] is the statements of one store, prepared on one connection. It writes what
//! pupsourcing's Go library writes, so both may work on one store: events first, then the head of
//! the aggregate, which moves by compare-and-set.
//!
//! ```no_run
//! use pupctl::store::{AppendError, ExpectedVersion, NewEvent, Store, StreamId};
//! use uuid::Uuid;
//!
//! # fn append(client: &mut postgres::Client, id: Uuid) -> pupctl::Result<()> {
//! let store = Store::open(client, "public")?;
//! let order = StreamId::new("Sales", "Order", "4711");
//! let placed = NewEvent::new(order.clone(), id, "OrderPlaced").payload(br#"{"total": 250}"#);
//!
//! // Within a transaction, beside whatever else it writes; with the client itself the statement
//! // is a transaction of its own.
//! let mut transaction = client.transaction().expect("a transaction");
//! match store.append(&mut transaction, ExpectedVersion::NoStream, &[placed]) {
//!     Ok(appended) => assert_eq!(appended.last_version, 1),
//!     Err(AppendError::ConcurrencyConflict { .. }) => return Ok(()), // read it again
//!     Err(error) => return Err(error.into()),
//! }
//! transaction.commit().expect("committed");
//!
//! let events = store.read_stream(client, &order, ..)?;
//! # Ok(()) }
//! ```
//!
//! # Connections and pools
//!
//! Statements live on the connection on which they were prepared. Keep one `Store` beside each
//! connection of a pool; on another connection its statements do not exist, which is an error that
//! says so. Through a pooler that gives every transaction another session (PgBouncer in
//! `transaction` mode) prepared statements need its support (`max_prepared_statements`).

mod append;
mod error;
mod event;
mod read;
mod stream;
mod window;

pub use append::{Appended, PAYLOAD_BYTES_MAX};
pub use error::AppendError;
pub use event::{NewEvent, StoredEvent};
pub use stream::{ExpectedVersion, StreamId};

use postgres::GenericClient;
use postgres::types::ToSql;

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};
use crate::render::tables::layout_table;

/// The statements of one store, prepared on one connection.
#[derive(Debug)]
pub struct Store {
    append: append::Statements,
    read: read::Statements,
    payload_bytes_max: usize,
}

impl Store {
    /// Reads the layout that `pupctl schema init` stored in `schema`, and prepares the statements
    /// on this connection.
    pub fn open(client: &mut impl GenericClient, schema: &str) -> Result<Self> {
        let layout = stored_layout(client, schema)?;
        Self::with_layout(client, schema, &layout)
    }

    /// The same for a layout that is known, which saves one query.
    pub fn with_layout(
        client: &mut impl GenericClient,
        schema: &str,
        layout: &Layout,
    ) -> Result<Self> {
        Ok(Self {
            append: append::Statements::prepare(client, schema, layout)?,
            read: read::Statements::prepare(client, schema, layout)?,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
        })
    }

    /// Refuses appends with more bytes of payload than that, in all events together. Never more
    /// than [`PAYLOAD_BYTES_MAX`].
    #[must_use]
    pub fn payload_bytes_max(self, bytes: usize) -> Self {
        Self { payload_bytes_max: bytes.min(PAYLOAD_BYTES_MAX), ..self }
    }
}

pub(crate) fn stored_layout(client: &mut impl GenericClient, schema: &str) -> Result<Layout> {
    let none = || {
        Error::refused(format!("the schema `{schema}` holds no event store"))
            .hint("make one with pupctl schema init, or name its schema")
    };
    let sql = render("layout/select", &values! { table => layout_table(schema) });
    let row = match client.query_opt(&sql, &[]) {
        Ok(row) => row.ok_or_else(none)?,
        // undefined_table: nobody made a store here.
        Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => {
            return Err(none().because(error));
        }
        Err(error) => return Err(Error::database("reading the layout of the store", error)),
    };
    let value = row
        .try_get(0)
        .map_err(|error| Error::database("reading the layout of the store", error))?;
    Layout::from_json(value)
}

/// How many partitions of a table hold rows.
fn leaves(client: &mut impl GenericClient, table: &QualifiedName) -> Result<i64> {
    client
        .query_one(include_str!("../../sql/store/leaves.sql"), &[&table.schema, &table.name])
        .and_then(|row| row.try_get(0))
        .map_err(|error| failed("counting the partitions of the store", error))
}

/// Prepares a statement of a store.
fn prepare(client: &mut impl GenericClient, sql: &str) -> Result<postgres::Statement> {
    client.prepare(sql).map_err(|error| {
        let missing = error.code().is_some_and(|code| code.code() == "42P01");
        let error = Error::database("preparing the statements of the store", error);
        if missing { error.hint("the tables of the stored layout are gone") } else { error }
    })
}

/// What the server said while a statement of a store ran.
fn failed(doing: &str, error: postgres::Error) -> Error {
    let code = error.code().map(|code| code.code().to_owned());
    let error = Error::database(doing, error);
    match code.as_deref() {
        // invalid_sql_statement_name
        Some("26000") => error
            .detail("the statements of a Store exist on the connection on which it was opened")
            .hint("open one Store for each connection, and again after DISCARD or DEALLOCATE"),
        // check_violation: no partition takes the row. A table's own checks have names.
        Some("23514") if error.message().contains("partition") => {
            error.hint("pupctl partitions ensure makes months, pupctl contexts add a context")
        }
        _ => error,
    }
}

/// The values of a statement.
type Values<'a> = [&'a (dyn ToSql + Sync)];
