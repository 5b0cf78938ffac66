//! Rows in PostgreSQL's text COPY format (`COPY`, "Text Format", in the manual), for tables with
//! columns of types that pupctl does not know.

use chrono::SecondsFormat;

use crate::event::model::Event;

use super::extra::{self, Column};

/// Rows that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct TextRows {
    buffer: Vec<u8>,
    in_row: bool,
}

impl TextRows {
    /// How many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// What waits, to be sent.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Adds an event with the columns of [`crate::event::model::COLUMNS`] and further ones.
    pub(super) fn event(&mut self, event: &Event<'_>, columns: &[Column]) {
        self.text(&event.bounded_context);
        self.text(&event.aggregate_type);
        self.text(&event.aggregate_id);
        self.text(&event.aggregate_version.to_string());
        self.text(&event.event_id.to_string());
        self.text(&event.event_type);
        self.text(&event.event_version.to_string());
        self.bytes_field(&event.payload);
        for text in [&event.trace_id, &event.correlation_id, &event.causation_id, &event.metadata] {
            self.field(text.as_deref());
        }
        self.text(&event.created_at.to_rfc3339_opts(SecondsFormat::Micros, true));
        self.extra(event, columns);
    }

    /// Adds the fields of further columns, and ends the row.
    pub(super) fn extra(&mut self, event: &Event<'_>, columns: &[Column]) {
        for column in columns {
            self.field(extra::value(event, column).as_deref());
        }
        self.buffer.push(b'\n');
        self.in_row = false;
    }

    /// A `bytea` in hexadecimal; its backslash is escaped, as all are.
    fn bytes_field(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.separate();
        self.buffer.extend(b"\\\\x");
        for byte in bytes {
            self.buffer.push(DIGITS[usize::from(byte >> 4)]);
            self.buffer.push(DIGITS[usize::from(byte & 15)]);
        }
    }

    fn separate(&mut self) {
        if std::mem::replace(&mut self.in_row, true) {
            self.buffer.push(b'\t');
        }
    }

    fn text(&mut self, text: &str) {
        self.field(Some(text));
    }

    fn field(&mut self, text: Option<&str>) {
        self.separate();
        let Some(text) = text else {
            self.buffer.extend(b"\\N");
            return;
        };
        for byte in text.bytes() {
            match byte {
                b'\\' => self.buffer.extend(b"\\\\"),
                b'\t' => self.buffer.extend(b"\\t"),
                b'\n' => self.buffer.extend(b"\\n"),
                b'\r' => self.buffer.extend(b"\\r"),
                other => self.buffer.push(other),
            }
        }
    }
}
