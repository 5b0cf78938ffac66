//! Events on their way into a store and out of it.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use postgres::Row;
use serde_json::Value;
use uuid::Uuid;

use crate::event::model::{COLUMNS, STORED_COLUMNS};

use super::stream::StreamId;

/// The types of the columns that each event of an append brings: those of [`COLUMNS`] after the
/// aggregate and its version.
const TYPES: [&str; 9] =
    ["UUID", "TEXT", "INTEGER", "BYTEA", "TEXT", "TEXT", "TEXT", "JSONB", "TIMESTAMPTZ"];

/// A column that each event brings.
#[derive(Debug, serde::Serialize)]
pub(super) struct Field {
    name: &'static str,
    r#type: &'static str,
}

/// The columns that each event of an append brings, in the order of its values.
pub(super) fn fields() -> Vec<Field> {
    let names = &COLUMNS[COLUMNS.len() - TYPES.len()..];
    names.iter().zip(TYPES).map(|(name, r#type)| Field { name, r#type }).collect()
}

/// An event that is not in a store yet: its version and its position are what append gives it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewEvent<'a> {
    /// The aggregate.
    pub stream: StreamId<'a>,
    /// Its id, which no other event has.
    pub event_id: Uuid,
    /// What happened.
    pub event_type: Cow<'a, str>,
    /// The version of the payload's form.
    pub event_version: i32,
    /// The payload, in any form.
    pub payload: Cow<'a, [u8]>,
    /// The trace.
    pub trace_id: Option<Cow<'a, str>>,
    /// What belongs together.
    pub correlation_id: Option<Cow<'a, str>>,
    /// What caused it.
    pub causation_id: Option<Cow<'a, str>>,
    /// Further facts.
    pub metadata: Option<Value>,
    /// When it happened; without it the server's clock says so, at the start of the transaction.
    pub created_at: Option<DateTime<Utc>>,
}

impl<'a> NewEvent<'a> {
    /// An event with an empty payload in its first form, and nothing beside it.
    pub fn new(stream: StreamId<'a>, event_id: Uuid, event_type: impl Into<Cow<'a, str>>) -> Self {
        Self {
            stream,
            event_id,
            event_type: event_type.into(),
            event_version: 1,
            payload: Cow::Borrowed(&[]),
            trace_id: None,
            correlation_id: None,
            causation_id: None,
            metadata: None,
            created_at: None,
        }
    }

    /// With this version of the payload's form.
    #[must_use]
    pub fn event_version(self, event_version: i32) -> Self {
        Self { event_version, ..self }
    }

    /// With this payload, as a vector or a slice of bytes.
    #[must_use]
    pub fn payload(self, payload: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { payload: payload.into(), ..self }
    }

    /// With this trace.
    #[must_use]
    pub fn trace_id(self, trace_id: impl Into<Cow<'a, str>>) -> Self {
        Self { trace_id: Some(trace_id.into()), ..self }
    }

    /// With this correlation.
    #[must_use]
    pub fn correlation_id(self, correlation_id: impl Into<Cow<'a, str>>) -> Self {
        Self { correlation_id: Some(correlation_id.into()), ..self }
    }

    /// With this cause.
    #[must_use]
    pub fn causation_id(self, causation_id: impl Into<Cow<'a, str>>) -> Self {
        Self { causation_id: Some(causation_id.into()), ..self }
    }

    /// With these further facts.
    #[must_use]
    pub fn metadata(self, metadata: impl Into<Value>) -> Self {
        Self { metadata: Some(metadata.into()), ..self }
    }

    /// With the time at which it happened.
    #[must_use]
    pub fn created_at(self, created_at: DateTime<Utc>) -> Self {
        Self { created_at: Some(created_at), ..self }
    }
}

/// An event as a store has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StoredEvent {
    /// Its place among all events of the store.
    pub global_position: i64,
    /// The bounded context.
    pub bounded_context: String,
    /// The kind of the aggregate.
    pub aggregate_type: String,
    /// The aggregate within its kind.
    pub aggregate_id: String,
    /// The version of the aggregate that this event made.
    pub aggregate_version: i64,
    /// Its id.
    pub event_id: Uuid,
    /// What happened.
    pub event_type: String,
    /// The version of the payload's form.
    pub event_version: i32,
    /// The payload.
    pub payload: Vec<u8>,
    /// The trace.
    pub trace_id: Option<String>,
    /// What belongs together.
    pub correlation_id: Option<String>,
    /// What caused it.
    pub causation_id: Option<String>,
    /// Further facts.
    pub metadata: Option<Value>,
    /// When it happened, by the clock of its writer.
    pub created_at: DateTime<Utc>,
}

impl StoredEvent {
    /// The columns in which [`from_row`](Self::from_row) finds its fields.
    pub(crate) const COLUMNS: [&'static str; 14] = STORED_COLUMNS;
    /// The place of `global_position` among them.
    pub(super) const POSITION: usize = 0;
    /// The place of `aggregate_version`.
    pub(super) const VERSION: usize = 4;
    /// The place of `created_at`.
    pub(super) const CREATED_AT: usize = 13;

    /// The aggregate.
    #[must_use]
    pub fn stream(&self) -> StreamId<'_> {
        StreamId::new(&*self.bounded_context, &*self.aggregate_type, &*self.aggregate_id)
    }

    /// The fields by their places, which costs less than by their names.
    pub(crate) fn from_row(row: &Row) -> Result<Self, postgres::Error> {
        Ok(Self {
            global_position: row.try_get(Self::POSITION)?,
            bounded_context: row.try_get(1)?,
            aggregate_type: row.try_get(2)?,
            aggregate_id: row.try_get(3)?,
            aggregate_version: row.try_get(Self::VERSION)?,
            event_id: row.try_get(5)?,
            event_type: row.try_get(6)?,
            event_version: row.try_get(7)?,
            payload: row.try_get(8)?,
            trace_id: row.try_get(9)?,
            correlation_id: row.try_get(10)?,
            causation_id: row.try_get(11)?,
            metadata: row.try_get(12)?,
            created_at: row.try_get(Self::CREATED_AT)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_brings_its_own_columns() {
        let fields = fields();
        let names: Vec<_> = fields.iter().map(|field| field.name).collect();
        assert_eq!(
            names,
            [
                "event_id",
                "event_type",
                "event_version",
                "payload",
                "trace_id",
                "correlation_id",
                "causation_id",
                "metadata",
                "created_at"
            ]
        );
    }
}
