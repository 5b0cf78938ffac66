//! What a store holds, how it grows and how it is used, as far as a short look tells.

use serde::Serialize;

use chrono::{DateTime, Utc};

use crate::layout::month::Month;

/// What was read of a store, by a glance at statistics and a bounded sample, or by counting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workload {
    /// How many events there are.
    pub rows: u64,
    /// Whether that is an estimate.
    pub estimated: bool,
    /// The size of rows, TOAST included.
    pub table_bytes: u64,
    /// The size of the indexes.
    pub index_bytes: u64,
    /// How many aggregates there are, where the heads tell.
    pub aggregates: Option<u64>,
    /// The contexts, the largest first.
    pub contexts: Vec<ContextShare>,
    /// The months in which there are events, in their order.
    pub months: Vec<MonthRows>,
    /// The streams with the most events, as far as they were seen.
    pub streams: Vec<Stream>,
    /// How many events a second were inserted on average, since the statistics were reset.
    pub inserts_per_second: Option<f64>,
    /// Since when that was counted.
    pub counted_since: Option<DateTime<Utc>>,
    /// What queries compare, where the server keeps count of them.
    pub queries: Option<Queries>,
    /// What was estimated, and what could not be looked at, in words.
    pub notes: Vec<String>,
}

/// The share of a context.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ContextShare {
    /// Its name.
    pub name: String,
    /// How many events it has.
    pub rows: u64,
}

/// The events of a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MonthRows {
    /// The month, by `created_at` in UTC.
    #[serde(serialize_with = "shown")]
    pub month: Month,
    /// How many events it has.
    pub rows: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn shown<S: serde::Serializer>(month: &Month, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(month)
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stream {
    /// Its context.
    pub bounded_context: String,
    /// Its type.
    pub aggregate_type: String,
    /// Its id.
    pub aggregate_id: String,
    /// Its last version.
    pub version: i64,
}

/// How often the events were read by what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Queries {
    /// All reads that were recognised.
    pub calls: u64,
    /// By the aggregate.
    pub by_aggregate: u64,
    /// By position, as projections do.
    pub by_position: u64,
    /// By time.
    pub by_time: u64,
    /// With the context compared, beside whatever else.
    pub with_context: u64,
    /// Without any of these columns.
    pub by_other: u64,
}
