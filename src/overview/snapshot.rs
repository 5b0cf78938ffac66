//! The tables and what became of them, read in one transaction, so that no month is counted twice
//! that leaves for its archive meanwhile.

use std::collections::BTreeMap;

use postgres::{Client, Row, Transaction};

use crate::catalog::Catalog;
use crate::db::closed::{self, Closed};
use crate::db::inspect::{self, Depth};
use crate::error::{Error, Result};
use crate::layout::name::Tables;
use crate::operation::archives::{self, Record};

use super::growth::Histogram;
use super::partitions::is_one_month;

/// The tables, and what became of them.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The catalog.
    pub catalog: Catalog,
    /// The months that were closed.
    pub closed: Vec<Closed>,
    /// The archives.
    pub records: Vec<Record>,
    /// When the rows of leaves were made that are not of one month, by the number of the leaf.
    pub histograms: BTreeMap<u32, Histogram>,
    /// What could not be read.
    pub notes: Vec<String>,
}

/// Looks at a store. The session writes nothing from then on.
pub fn snapshot(
    client: &mut Client,
    schema: &str,
    tables: &Tables,
    depth: Depth,
) -> Result<Snapshot> {
    let failed = |error| Error::database("looking at the store", error);
    client.batch_execute(include_str!("../../sql/overview/session.sql")).map_err(failed)?;
    let server = inspect::server(client)?;
    let mut transaction = inspect::snapshot(client)?;
    let catalog = inspect::catalog_within(&mut transaction, server, schema, tables, depth)?;
    let mut found = Snapshot { catalog, ..Snapshot::default() };
    // Where there is no layout there is no store: whoever asked says so.
    if found.catalog.layout.is_some() {
        found.records = archives::all(&mut transaction, schema)?;
        found.closed = closed_months(&mut transaction, schema)?;
        read_histograms(&mut transaction, &mut found);
    }
    transaction.rollback().map_err(failed)?;
    Ok(found)
}

/// An older pupctl made a store without their table, which fails in a savepoint.
fn closed_months(transaction: &mut Transaction<'_>, schema: &str) -> Result<Vec<Closed>> {
    let mut savepoint = transaction
        .transaction()
        .map_err(|error| Error::database("reading which months are closed", error))?;
    closed::list(&mut savepoint, schema)
}

/// What cannot be read is no reason to show nothing: statistics are seen by those who may read the
/// table.
fn read_histograms(transaction: &mut Transaction<'_>, found: &mut Snapshot) {
    let events = found.catalog.events.as_ref();
    let leaves = events.into_iter().flat_map(|table| table.root.leaves());
    let oids: Vec<u32> = leaves.filter(|leaf| !is_one_month(leaf)).map(|leaf| leaf.oid).collect();
    if oids.is_empty() {
        return;
    }
    let rows = transaction.transaction().and_then(|mut savepoint| {
        savepoint.query(include_str!("../../sql/overview/histograms.sql"), &[&oids])
    });
    match rows {
        Ok(rows) => {
            let known = rows.iter().map(|row| (row.get("oid"), histogram(row)));
            found.histograms = known.collect();
        }
        Err(error) => {
            let error = Error::database("reading the statistics of the planner", error);
            found.notes.push(format!("no months are known of some tables: {error}"));
        }
    }
}

fn histogram(row: &Row) -> Histogram {
    Histogram {
        nulls: row.get("nulls"),
        common: row.get("common"),
        frequencies: row.get("frequencies"),
        edges: row.get("edges"),
    }
}
