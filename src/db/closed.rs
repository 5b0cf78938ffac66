//! Which months are closed, and what was in them then.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use postgres::{Client, GenericClient};
use serde::Serialize;

use crate::error::{CLOSED_CHECK, Error, Result};
use crate::layout::name::QualifiedName;
use crate::plan::close::State;
use crate::render::environment::{render, values};
use crate::render::tables::closed_table;

/// A month that was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Closed {
    /// The number of its table.
    #[serde(skip)]
    pub oid: u32,
    /// Its table.
    pub name: String,
    /// How many events it had.
    pub rows: i64,
    /// The first position; none where it is empty.
    pub first_position: Option<i64>,
    /// The last position.
    pub last_position: Option<i64>,
    /// A sum over all of its rows.
    pub digest: String,
    /// When it was closed.
    pub closed_at: DateTime<Utc>,
    /// Whether it still has the CHECK.
    pub sealed: bool,
}

/// Every month that was closed and is still there.
pub fn list(client: &mut impl GenericClient, schema: &str) -> Result<Vec<Closed>> {
    let closed = closed_table(schema);
    let rows = match client.query(&render("close/list", &values! { closed }), &[&CLOSED_CHECK]) {
        Ok(rows) => rows,
        // undefined_table: an older pupctl made the store, which closed nothing.
        Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => return Ok(vec![]),
        Err(error) => return Err(Error::database("reading which months are closed", error)),
    };
    Ok(rows
        .iter()
        .map(|row| Closed {
            oid: row.get("oid"),
            name: row.get("name"),
            rows: row.get("rows"),
            first_position: row.get("first"),
            last_position: row.get("last"),
            digest: row.get("digest"),
            closed_at: row.get("closed_at"),
            sealed: row.get("sealed"),
        })
        .collect())
}

/// What the partitions of these numbers have been through.
pub fn states(client: &mut Client, schema: &str, oids: &[u32]) -> Result<BTreeMap<u32, State>> {
    let mut states: BTreeMap<u32, State> = BTreeMap::new();
    let rows = client
        .query(include_str!("../../sql/close/sealed.sql"), &[&CLOSED_CHECK, &oids])
        .map_err(|error| Error::database("reading which months are closed", error))?;
    for row in &rows {
        let state = states.entry(row.get("oid")).or_default();
        (state.sealed, state.valid) = (true, row.get("valid"));
    }
    for closed in list(client, schema)? {
        states.entry(closed.oid).or_default().recorded = true;
    }
    Ok(states)
}

/// The time of the newest event, by its position.
pub fn newest(client: &mut Client, events: &QualifiedName) -> Result<Option<DateTime<Utc>>> {
    let row = client
        .query_opt(&render("close/newest", &values! { events }), &[])
        .map_err(|error| Error::database("looking for the newest event", error))?;
    Ok(row.map(|row| row.get("at")))
}
