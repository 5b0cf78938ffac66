//! Reads what a store holds and how it is used: from statistics, and from a sample that is as large
//! for a store of a terabyte as for one of a gigabyte.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use postgres::types::{Oid, ToSql};
use postgres::{Client, Row, Transaction};

use crate::catalog::relation::{Relation, Size};
use crate::catalog::workload::{ContextShare, MonthRows, Queries, Stream, Workload};
use crate::catalog::{Catalog, Table};
use crate::error::{Error, Kind, Result};
use crate::layout::month::Month;
use crate::layout::name::{QualifiedName, Tables};
use crate::plan::advise::queries;
use crate::render::environment::{render, values};

use super::inspect::{self, Depth, catalog_within, snapshot};

/// Up to this size a table is read whole: a second or two on a slow disk.
const WHOLE_MAX: u64 = 128 << 20;

/// How many rows of a sample are enough: as many as ANALYZE reads with its standard settings (300
/// for each of the 100 entries of `default_statistics_target`).
const SAMPLE_ROWS: f64 = 30_000.0;

/// The part of a page, in rows, below which nothing is known of a table that was never analyzed.
const ROW_BYTES: f64 = 500.0;

/// Catalog and workload of the store in `schema`, in one read-only transaction; no workload where
/// there is no table of events. With `exact`, everything is counted.
pub fn look(
    client: &mut Client,
    schema: &str,
    tables: &Tables,
    exact: bool,
) -> Result<(Catalog, Option<Workload>)> {
    let server = inspect::server(client)?;
    let mut transaction = snapshot(client)?;
    let depth = Depth { sizes: true, ..Depth::default() };
    let catalog = catalog_within(&mut transaction, server, schema, tables, depth)?;
    let Some(events) = &catalog.events else { return Ok((catalog, None)) };
    if exact {
        // Counting takes as long as it takes.
        transaction.batch_execute("SET LOCAL statement_timeout = 0").map_err(failed)?;
    }
    let mut reader = Reader { transaction: &mut transaction, notes: Vec::new(), exact };
    let workload = reader.read(events, catalog.heads.as_ref())?;
    transaction.rollback().map_err(failed)?;
    Ok((catalog, Some(workload)))
}

fn failed(error: postgres::Error) -> Error {
    Error::database("looking at what the store holds", error)
}

struct Reader<'a, 'b> {
    transaction: &'a mut Transaction<'b>,
    notes: Vec<String>,
    exact: bool,
}

/// What a table tells of itself without being read.
struct Extent {
    size: Size,
    /// The estimate of its rows; none where a leaf was never analyzed.
    rows: Option<u64>,
}

impl Extent {
    fn of(root: &Relation) -> Self {
        let mut size = Size::default();
        let mut rows = Some(0);
        for leaf in root.leaves() {
            let own = leaf.size.unwrap_or_default();
            size.table += own.table;
            size.indexes += own.indexes;
            // An empty leaf need not have been analyzed.
            let known = if own.table == 0 { Some(0) } else { leaf.rows };
            rows = rows.zip(known).map(|(sum, own)| sum + own);
        }
        Self { size, rows }
    }

    /// Which share of its pages to read, in percent; none for all of them.
    fn percent(&self, exact: bool) -> Option<f64> {
        if exact || self.size.table <= WHOLE_MAX {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a number of rows")]
        let rows = self.rows.map_or(self.size.table as f64 / ROW_BYTES, |rows| rows as f64);
        Some((SAMPLE_ROWS * 100.0 / rows.max(1.0)).clamp(0.000_1, 100.0))
    }
}

impl Reader<'_, '_> {
    fn read(&mut self, events: &Table, heads: Option<&Table>) -> Result<Workload> {
        let has = |column: &str| events.columns.iter().any(|found| found.name == column);
        let extent = Extent::of(&events.root);
        let percent = extent.percent(self.exact);
        let table = &events.root.name;
        let sql = render(
            "advise/sample",
            &values! {
                events => table, sampled => percent.is_some(), context => has("bounded_context"),
                time => has("created_at"),
            },
        );
        let before = self.notes.len();
        let sampled = self.sampled("the events", &sql, percent)?;
        let is_seen = self.notes.len() == before;
        let seen: u64 = sampled.iter().map(rows_of).sum();
        let rows = match percent {
            None if is_seen => seen,
            None => extent.rows.unwrap_or(0),
            Some(percent) => extent.rows.unwrap_or_else(|| scaled(seen, 100.0 / percent)),
        };
        let estimated = percent.is_some() || !is_seen;
        if let Some(percent) = percent {
            self.notes.push(format!(
                "contexts, months and streams are estimated from {seen} events, {percent:.4} % of \
                 the pages; --exact counts all of them"
            ));
        }
        let factor = ratio(rows, seen);
        let mut contexts = contexts(&sampled, factor);
        for name in self.all_contexts(heads)? {
            if !contexts.iter().any(|share| share.name == name) {
                contexts.push(ContextShare { name, rows: 0 });
            }
        }
        let (inserts_per_second, counted_since) = self.inserts(&events.root)?;
        Ok(Workload {
            rows,
            estimated,
            table_bytes: extent.size.table,
            index_bytes: extent.size.indexes,
            aggregates: heads.and_then(|heads| Extent::of(&heads.root).rows),
            contexts,
            months: months(&sampled, factor),
            streams: self.streams(events, heads)?,
            inserts_per_second,
            counted_since,
            queries: self.queries(table)?,
            notes: std::mem::take(&mut self.notes),
        })
    }

    /// The contexts that the heads name, where an index leads from one to the next.
    fn all_contexts(&mut self, heads: Option<&Table>) -> Result<Vec<String>> {
        let Some(heads) = heads else { return Ok(Vec::new()) };
        let is_led = |leaf: &Relation| {
            leaf.indexes.iter().any(|index| {
                index.method == "btree"
                    && index.columns.first().is_some_and(|column| column == "bounded_context")
            })
        };
        if !heads.root.leaves().all(is_led) {
            return Ok(Vec::new());
        }
        let sql = render("advise/contexts", &values! { heads => heads.root.name });
        let rows = self.optional("the contexts", &sql, &[])?;
        Ok(rows.iter().map(|row| row.get("name")).collect())
    }

    /// The longest streams: of the heads, which have one row for each, or else of the events.
    fn streams(&mut self, events: &Table, heads: Option<&Table>) -> Result<Vec<Stream>> {
        let wanted = ["bounded_context", "aggregate_type", "aggregate_id", "aggregate_version"];
        let is_fit = |table: &&Table| {
            wanted.iter().all(|name| table.columns.iter().any(|column| column.name == *name))
        };
        let Some(table) = heads.into_iter().chain([events]).find(is_fit) else {
            return Ok(Vec::new());
        };
        let percent = Extent::of(&table.root).percent(self.exact);
        let sql = render(
            "advise/streams",
            &values! { heads => table.root.name, sampled => percent.is_some() },
        );
        let rows = self.sampled("the streams", &sql, percent)?;
        Ok(rows
            .iter()
            .map(|row| Stream {
                bounded_context: row.get("context"),
                aggregate_type: row.get("type"),
                aggregate_id: row.get("id"),
                version: row.get("version"),
            })
            .collect())
    }

    fn inserts(&mut self, root: &Relation) -> Result<(Option<f64>, Option<DateTime<Utc>>)> {
        let oids: Vec<Oid> = root.leaves().map(|leaf| leaf.oid).collect();
        let rows = self.optional(
            "how many events were inserted",
            include_str!("../../sql/advise/inserts.sql"),
            &[&oids],
        )?;
        let Some(row) = rows.first() else { return Ok((None, None)) };
        let (since, now): (DateTime<Utc>, DateTime<Utc>) = (row.get("since"), row.get("now"));
        #[expect(clippy::cast_precision_loss, reason = "an average")]
        let (inserted, seconds) =
            (row.get::<_, i64>("inserted") as f64, (now - since).num_seconds().max(1) as f64);
        Ok((Some(inserted / seconds), Some(since)))
    }

    /// What the events were asked for, where the server keeps count.
    fn queries(&mut self, table: &QualifiedName) -> Result<Option<Queries>> {
        let sql = include_str!("../../sql/advise/statements.sql");
        let found = self.transaction.query_opt(sql, &[]).map_err(failed)?;
        let Some(schema) = found.map(|row| row.get::<_, String>("schema")) else {
            self.notes.push(
                "the database has no pg_stat_statements, so how events are read is not known"
                    .to_owned(),
            );
            return Ok(None);
        };
        let statements = QualifiedName::new(schema, "pg_stat_statements");
        let name = &table.name;
        let sql = render("advise/statements", &values! { statements, name });
        let before = self.notes.len();
        let rows = self.optional("pg_stat_statements", &sql, &[])?;
        if self.notes.len() > before {
            return Ok(None);
        }
        let mut found = Queries::default();
        for row in &rows {
            let calls = u64::try_from(row.get::<_, i64>("calls")).unwrap_or(0);
            let text: Option<String> = row.get("query");
            queries::add(&mut found, name, text.as_deref().unwrap_or_default(), calls);
        }
        if found.calls == 0 {
            self.notes.push(
                "pg_stat_statements has no read of the events that this role may see".to_owned(),
            );
        }
        Ok(Some(found))
    }

    /// The same of a query on a share of the pages.
    fn sampled(&mut self, what: &str, sql: &str, percent: Option<f64>) -> Result<Vec<Row>> {
        #[expect(clippy::cast_possible_truncation, reason = "a share")]
        match percent.map(|percent| percent as f32) {
            Some(percent) => self.optional(what, sql, &[&percent]),
            None => self.optional(what, sql, &[]),
        }
    }

    /// The rows of a query; none where it fails, which is noted.
    fn optional(
        &mut self,
        what: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        let mut inner = self.transaction.transaction().map_err(failed)?;
        match inner.query(sql, parameters) {
            Ok(rows) => {
                inner.commit().map_err(failed)?;
                Ok(rows)
            }
            Err(error) => {
                let error = Error::database("asking", error);
                if error.kind() == Kind::Connection {
                    return Err(error);
                }
                inner.rollback().map_err(failed)?;
                let why = error.message().trim_start_matches("failed while asking: ");
                self.notes.push(format!("could not look at {what}: {why}"));
                Ok(Vec::new())
            }
        }
    }
}

fn rows_of(row: &Row) -> u64 {
    u64::try_from(row.get::<_, i64>("rows")).unwrap_or(0)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
fn scaled(number: u64, factor: f64) -> u64 {
    (number as f64 * factor).round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn ratio(whole: u64, part: u64) -> f64 {
    if part == 0 { 1.0 } else { whole as f64 / part as f64 }
}

fn contexts(sampled: &[Row], factor: f64) -> Vec<ContextShare> {
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for row in sampled {
        if let Some(name) = row.get::<_, Option<String>>("context") {
            *sums.entry(name).or_default() += rows_of(row);
        }
    }
    let share = |(name, rows)| ContextShare { name, rows: scaled(rows, factor) };
    let mut shares: Vec<_> = sums.into_iter().map(share).collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.rows));
    shares
}

/// Times that lie in no month are left out.
fn months(sampled: &[Row], factor: f64) -> Vec<MonthRows> {
    let mut sums: BTreeMap<Month, u64> = BTreeMap::new();
    for row in sampled {
        let text: Option<String> = row.get("month");
        if let Some(month) = text.and_then(|text| text.parse().ok()) {
            *sums.entry(month).or_default() += rows_of(row);
        }
    }
    sums.into_iter().map(|(month, rows)| MonthRows { month, rows: scaled(rows, factor) }).collect()
}
