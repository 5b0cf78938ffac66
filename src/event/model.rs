//! An event as a file has it: one line, one JSON object.
//!
//! | field | JSON | column |
//! |---|---|---|
//! | `global_position` | integer | the same; import ignores it, a store draws its own |
//! | `bounded_context`, `aggregate_type`, `aggregate_id` | string | the same, `text` |
//! | `event_type` | string | the same, `text` |
//! | `aggregate_version` | integer from 1 | the same, `bigint` |
//! | `event_id` | string | the same, `uuid` |
//! | `event_version` | integer, 1 when it is missing | the same, `integer` |
//! | `payload` | any value | the bytes of the value as it is written, `bytea` |
//! | `payload_base64` | string | instead of `payload`: bytes that are no JSON of one line |
//! | `trace_id`, `correlation_id`, `causation_id` | string, may be missing or null | the same |
//! | `metadata` | any value, may be missing or null | the same, `jsonb` |
//! | `created_at` | string, RFC 3339 with an offset | the same, `timestamptz` (microseconds) |

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The columns of `events`, as every store has them; the position is the first.
pub const STORED_COLUMNS: [&str; 14] = [
    "global_position",
    "bounded_context",
    "aggregate_type",
    "aggregate_id",
    "aggregate_version",
    "event_id",
    "event_type",
    "event_version",
    "payload",
    "trace_id",
    "correlation_id",
    "causation_id",
    "metadata",
    "created_at",
];

/// Those that a file fills, in the order in which rows are copied.
pub const COLUMNS: &[&str] = STORED_COLUMNS.split_at(1).1;

/// From 1970, where Unix time begins, to 2000, where that of PostgreSQL does.
pub(super) const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// One event of a file. It borrows from its line what it can.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// Its position in the store that it comes from, where the file tells it.
    pub global_position: Option<i64>,
    /// The bounded context.
    pub bounded_context: Cow<'a, str>,
    /// The kind of the aggregate.
    pub aggregate_type: Cow<'a, str>,
    /// The aggregate within its kind.
    pub aggregate_id: Cow<'a, str>,
    /// The version of the aggregate that this event makes; the first is 1.
    pub aggregate_version: i64,
    /// The id of the event.
    pub event_id: Uuid,
    /// What happened.
    pub event_type: Cow<'a, str>,
    /// The version of the payload's form.
    pub event_version: i32,
    /// The payload, byte for byte as the column holds it.
    pub payload: Cow<'a, [u8]>,
    /// The trace.
    pub trace_id: Option<Cow<'a, str>>,
    /// What belongs together.
    pub correlation_id: Option<Cow<'a, str>>,
    /// What caused it.
    pub causation_id: Option<Cow<'a, str>>,
    /// Further facts, as JSON text.
    pub metadata: Option<Cow<'a, str>>,
    /// When it happened, by the clock of its writer; whole microseconds.
    pub created_at: DateTime<Utc>,
    /// Fields that are not among those above, for columns that a team added to the table.
    pub extra: Vec<(Cow<'a, str>, &'a RawValue)>,
}
