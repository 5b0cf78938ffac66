//! Events as files and stores have them.

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::support::TestDatabase;

/// An event of a file, whose fields a test changes.
#[derive(Debug, Clone)]
pub(crate) struct Event(Map<String, Value>);

/// The event of an order that makes this version of it, in the context Shop.
pub(crate) fn event(order: u32, version: i64) -> Event {
    let event = serde_json::json!({
        "bounded_context": "Shop",
        "aggregate_type": "Order",
        "aggregate_id": format!("o-{order}"),
        "aggregate_version": version,
        "event_id": format!("00000000-0000-4000-8000-{order:06}{version:06}"),
        "event_type": "OrderPlaced",
        "payload": {},
        "created_at": "2024-02-03T04:05:06Z",
    });
    match event {
        Value::Object(fields) => Event(fields),
        _ => unreachable!("an object is written above"),
    }
}

impl Event {
    /// With another value in a field.
    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0.insert(field.to_owned(), value.into());
        self
    }

    /// Without a field.
    pub(crate) fn without(mut self, field: &str) -> Self {
        self.0.remove(field).expect("a field that is there");
        self
    }

    /// Its `event_id`.
    pub(crate) fn id(&self) -> String {
        self.0["event_id"].as_str().expect("a text").to_owned()
    }

    /// Its line, without the end.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(&self.0).expect("JSON")
    }
}

/// The text of a file with these events.
pub(crate) fn lines(events: &[Event]) -> String {
    events.iter().map(|event| event.line() + "\n").collect()
}

/// An event of a file as this test reads it, apart from what pupctl's reader does.
#[derive(Debug, Deserialize)]
pub(crate) struct Read<'a> {
    pub(crate) bounded_context: String,
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
    pub(crate) aggregate_version: i64,
    pub(crate) event_id: String,
    event_type: String,
    event_version: i32,
    #[serde(borrow)]
    payload: &'a RawValue,
    correlation_id: String,
    metadata: Value,
    pub(crate) created_at: String,
}

/// The events of the text of a file.
pub(crate) fn read(text: &str) -> Vec<Read<'_>> {
    text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

/// The text of a plain file.
pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file")
}

impl Read<'_> {
    /// All that a store holds of it, as [`rows`] gives it.
    pub(crate) fn row(&self) -> String {
        [
            &self.bounded_context,
            &self.aggregate_type,
            &self.aggregate_id,
            &self.aggregate_version.to_string(),
            &self.event_id,
            &self.event_type,
            &self.event_version.to_string(),
            self.payload.get(),
            &self.correlation_id,
            &self.metadata.to_string(),
            &self.created_at,
        ]
        .join("|")
    }
}

/// The events of a store in their order, all columns but the position.
pub(crate) fn rows(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT concat_ws('|', bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, event_version, convert_from(payload, 'UTF8'), correlation_id,
            replace(metadata::text, ': ', ':'),
            to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))
         FROM public.events ORDER BY global_position",
    )
}

/// The heads of a store.
pub(crate) fn heads(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT concat_ws('|', bounded_context, aggregate_type, aggregate_id, aggregate_version)
         FROM public.aggregate_heads ORDER BY 1",
    )
}

/// How many events the store has.
pub(crate) fn count(db: &TestDatabase) -> i64 {
    db.one("SELECT count(*) FROM events")
}
