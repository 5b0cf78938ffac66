//! Rows in PostgreSQL's binary COPY format (`COPY`, "Binary Format", in the manual).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::event::model::{COLUMNS, EPOCH_MICROSECONDS, Event};

/// What every copy begins with: the signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What every copy ends with: a row of -1 fields.
const TRAILER: i16 = -1;

/// `jsonb` as it is sent begins with the version of its form.
const JSONB_VERSION: u8 = 1;

/// How much room is made beforehand, in bytes.
const CAPACITY: usize = 1024 * 1024;

/// OIDs of types, which never change (`pg_type.dat` of PostgreSQL).
const INT4: u32 = 23;
const INT8: u32 = 20;
const UUID: u32 = 2950;

/// Rows that wait to be sent.
#[derive(Debug)]
pub(super) struct Rows {
    buffer: Vec<u8>,
}

impl Rows {
    /// The beginning of a copy.
    #[must_use]
    pub(super) fn begin() -> Self {
        Self { buffer: HEADER.to_vec() }
    }

    /// How many bytes wait.
    #[must_use]
    pub(super) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// What waits, to be sent; the copy goes on.
    pub(super) fn take(&mut self) -> Vec<u8> {
        // As much as chunks mostly have; the next one need not be as large as this one.
        let capacity = CAPACITY.min(self.buffer.len());
        std::mem::replace(&mut self.buffer, Vec::with_capacity(capacity))
    }

    /// What waits, with the end of the copy; a new copy begins.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.buffer.extend(TRAILER.to_be_bytes());
        let sent = self.take();
        self.buffer.extend(HEADER);
        sent
    }

    /// Adds an event with the columns of [`COLUMNS`].
    pub(super) fn event(&mut self, event: &Event<'_>) {
        self.row(COLUMNS.len());
        self.text(&event.bounded_context);
        self.text(&event.aggregate_type);
        self.text(&event.aggregate_id);
        self.bigint(event.aggregate_version);
        self.uuid(event.event_id);
        self.text(&event.event_type);
        self.integer(event.event_version);
        self.field(&event.payload);
        self.optional(event.trace_id.as_deref());
        self.optional(event.correlation_id.as_deref());
        self.optional(event.causation_id.as_deref());
        match &event.metadata {
            None => self.null(),
            Some(json) => {
                self.length(json.len() + 1);
                self.buffer.push(JSONB_VERSION);
                self.buffer.extend(json.as_bytes());
            }
        }
        self.instant(event.created_at);
    }

    /// Begins a row of so many fields.
    pub(super) fn row(&mut self, fields: usize) {
        // A table has at most 1600 columns.
        self.buffer.extend(i16::try_from(fields).unwrap_or(i16::MAX).to_be_bytes());
    }

    /// A `text`.
    pub(super) fn text(&mut self, text: &str) {
        self.field(text.as_bytes());
    }

    /// A `bigint`.
    pub(super) fn bigint(&mut self, number: i64) {
        self.field(&number.to_be_bytes());
    }

    /// An `integer`.
    pub(super) fn integer(&mut self, number: i32) {
        self.field(&number.to_be_bytes());
    }

    /// A `uuid`.
    pub(super) fn uuid(&mut self, id: Uuid) {
        self.field(id.as_bytes());
    }

    /// A `timestamptz`.
    pub(super) fn instant(&mut self, instant: DateTime<Utc>) {
        self.bigint(instant.timestamp_micros() - EPOCH_MICROSECONDS);
    }

    /// An `integer[]`.
    pub(super) fn integers(&mut self, numbers: &[i32]) {
        self.array(INT4, numbers, |number| number.to_be_bytes());
    }

    /// A `bigint[]`.
    pub(super) fn bigints(&mut self, numbers: &[i64]) {
        self.array(INT8, numbers, |number| number.to_be_bytes());
    }

    /// A `uuid[]`.
    pub(super) fn uuids(&mut self, ids: &[Uuid]) {
        self.array(UUID, ids, |id| *id.as_bytes());
    }

    /// One dimension without NULLs, as `array_recv` of the server reads it.
    fn array<T, const N: usize>(&mut self, oid: u32, all: &[T], bytes: impl Fn(&T) -> [u8; N]) {
        let count = i32::try_from(all.len()).unwrap_or(i32::MAX);
        self.length(5 * 4 + all.len() * (4 + N));
        for head in [1, 0, oid.cast_signed(), count, 1] {
            self.buffer.extend(head.to_be_bytes());
        }
        for element in all {
            self.field(&bytes(element));
        }
    }

    fn optional(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    fn null(&mut self) {
        self.buffer.extend((-1_i32).to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.buffer.extend(bytes);
    }

    fn length(&mut self, bytes: usize) {
        // The longest line that is read is far below.
        self.buffer.extend(i32::try_from(bytes).unwrap_or(i32::MAX).to_be_bytes());
    }
}
