//! A row as a line of the file (pure).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::event::model::{EPOCH_MICROSECONDS, STORED_COLUMNS as COLUMNS};

use super::row::Row;

/// Appends the row as a line, and gives back its position. `extra` are the names of the columns
/// after the usual ones, which hold JSON.
pub(super) fn line(row: &Row, extra: &[String], out: &mut Vec<u8>) -> Result<i64> {
    let position = row.int8(0).ok_or_else(|| malformed("global_position", None))?;
    let mut line = Line { row, position, out };
    line.out.push(b'{');
    string(COLUMNS[0], line.out);
    line.out.push(b':');
    line.out.extend(position.to_string().as_bytes());
    for (field, name) in COLUMNS.iter().enumerate().skip(1) {
        line.column(field, name)?;
    }
    for (field, name) in (COLUMNS.len()..).zip(extra) {
        if let Some(json) = row.get(field) {
            line.raw(name, json);
        }
    }
    out.extend(b"}\n");
    Ok(position)
}

struct Line<'a> {
    row: &'a Row,
    position: i64,
    out: &'a mut Vec<u8>,
}

impl Line<'_> {
    fn column(&mut self, field: usize, name: &str) -> Result<()> {
        let Some(bytes) = self.row.get(field) else { return Ok(()) };
        match name {
            "aggregate_version" => {
                let version = self.row.int8(field).ok_or_else(|| self.malformed(name))?;
                self.raw(name, version.to_string().as_bytes());
            }
            "event_version" => {
                let version = self.row.int4(field).ok_or_else(|| self.malformed(name))?;
                self.raw(name, version.to_string().as_bytes());
            }
            "event_id" => {
                let id = Uuid::from_slice(bytes).map_err(|_| self.malformed(name))?;
                self.plain(name, id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
            }
            "created_at" => {
                let micros = self.row.int8(field).ok_or_else(|| self.malformed(name))?;
                let instant = instant(micros).ok_or_else(|| self.timeless(micros))?;
                self.plain(name, &instant.to_rfc3339_opts(SecondsFormat::AutoSi, true));
            }
            "payload" if is_one_line_of_json(bytes) => self.raw(name, bytes),
            "payload" => self.plain("payload_base64", &STANDARD.encode(bytes)),
            "metadata" => self.raw(name, bytes),
            _ => {
                let text = std::str::from_utf8(bytes).map_err(|_| self.no_text(name))?;
                self.key(name);
                string(text, self.out);
            }
        }
        Ok(())
    }

    /// A field whose value is JSON as it stands.
    fn raw(&mut self, name: &str, json: &[u8]) {
        self.key(name);
        self.out.extend(json);
    }

    /// A field whose value is text that needs no escapes.
    fn plain(&mut self, name: &str, text: &str) {
        self.key(name);
        self.out.push(b'"');
        self.out.extend(text.as_bytes());
        self.out.push(b'"');
    }

    fn key(&mut self, name: &str) {
        // The position is in front of every field.
        self.out.push(b',');
        string(name, self.out);
        self.out.push(b':');
    }

    fn malformed(&self, column: &str) -> Error {
        malformed(column, Some(self.position))
    }

    fn no_text(&self, column: &str) -> Error {
        let place = place(self.position);
        Error::refused(format!("{column} of {place} is not UTF-8, so JSON cannot hold it"))
            .hint("the database has no encoding (SQL_ASCII): correct the text of this event")
    }

    fn timeless(&self, micros: i64) -> Error {
        let when = match micros {
            i64::MAX => "infinity",
            i64::MIN => "-infinity",
            _ => "before the year 1 or after 9999",
        };
        let before = self.position.saturating_sub(1);
        let place = place(self.position);
        Error::refused(format!("created_at of {place} is {when}, which RFC 3339 cannot say")).hint(
            format!(
                "correct created_at of this event, or export around it: --up-to-position {before} \
                 and --after-position {}",
                self.position
            ),
        )
    }
}

fn place(position: i64) -> String {
    format!("the event at position {position}")
}

fn malformed(column: &str, position: Option<i64>) -> Error {
    let place = position.map_or("an event".to_owned(), place);
    Error::refused(format!("{column} of {place} is not of the type that the store gives it"))
        .hint("see how the table differs: pupctl schema status")
}

/// A JSON string.
fn string(text: &str, out: &mut Vec<u8>) {
    // Writing a string to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

fn instant(micros: i64) -> Option<DateTime<Utc>> {
    let instant = DateTime::from_timestamp_micros(micros.checked_add(EPOCH_MICROSECONDS)?)?;
    (1..=9999).contains(&instant.year()).then_some(instant)
}

/// Whether a payload can stand in a line byte for byte: one JSON value, nothing around it and no
/// line break in it.
fn is_one_line_of_json(payload: &[u8]) -> bool {
    !payload.contains(&b'\n')
        && !payload.contains(&b'\r')
        && serde_json::from_slice::<&RawValue>(payload)
            .is_ok_and(|value| value.get().len() == payload.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::export::row::Rows;
    use crate::event::export::row::tests::copy;

    /// A row with a payload and a time, and the columns given by their numbers.
    fn told(payload: &[u8], micros: i64, changed: &[(usize, Option<&[u8]>)]) -> Result<String> {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let mut row = vec![
            Some(7_i64.to_be_bytes().to_vec()),
            text("a \"b\" c"),
            text("Order"),
            text("o\u{1}\\ü"),
            Some(1_i64.to_be_bytes().to_vec()),
            Some(vec![0xab; 16]),
            text("Placed"),
            Some(2_i32.to_be_bytes().to_vec()),
            Some(payload.to_vec()),
            None,
            None,
            None,
            None,
            Some(micros.to_be_bytes().to_vec()),
        ];
        for (field, value) in changed {
            row.resize(row.len().max(field + 1), None);
            row[*field] = value.map(<[u8]>::to_vec);
        }
        let bytes = copy(&[row.clone()]);
        let mut rows = Rows::new(bytes.as_slice(), row.len()).expect("a head");
        let row = rows.next().expect("reads").expect("a row");
        let mut out = Vec::new();
        let extra = ["tenant \"x\"".to_owned(), "none".to_owned()];
        assert_eq!(line(row, &extra, &mut out)?, 7);
        Ok(String::from_utf8(out).expect("text"))
    }

    fn payload(bytes: &[u8]) -> String {
        let line = told(bytes, 0, &[]).expect("a line");
        let start = line.find("\"payload").expect("a payload");
        let end = line.find(",\"created_at").expect("the time");
        line[start..end].to_owned()
    }

    #[test]
    fn fields_come_in_their_order_and_nulls_are_left_out() {
        assert_eq!(
            told(b"{\"a\": 1.0}", 1, &[]).expect("a line"),
            concat!(
                r#"{"global_position":7,"bounded_context":"a \"b\" c","aggregate_type":"Order","#,
                r#""aggregate_id":"o\u0001\\ü","aggregate_version":1,"#,
                r#""event_id":"abababab-abab-abab-abab-abababababab","event_type":"Placed","#,
                r#""event_version":2,"payload":{"a": 1.0},"#,
                r#""created_at":"2000-01-01T00:00:00.000001Z"}"#,
                "\n"
            )
        );
        let whole = told(
            b"1",
            0,
            &[(9, Some(b"t")), (12, Some(b"null")), (14, Some(b"[1, 2]")), (15, None)],
        );
        assert!(whole.expect("a line").ends_with(concat!(
            r#""payload":1,"trace_id":"t","metadata":null,"created_at":"2000-01-01T00:00:00Z","#,
            r#""tenant \"x\"":[1, 2]}"#,
            "\n"
        )));
    }

    #[test]
    fn a_payload_stands_as_it_is_or_in_base64() {
        for plain in [r#""text""#, "null", "1e999", "{ \t}", r#"{"a":1,"a":"\ud800"}"#, "\"ü\""] {
            assert_eq!(payload(plain.as_bytes()), format!("\"payload\":{plain}"));
        }
        assert_eq!(payload(b""), r#""payload_base64":"""#);
        assert_eq!(payload(b"\0\xff"), r#""payload_base64":"AP8=""#);
        for coded in ["{\n}", "1\r", " 1", "1 ", "1 2", "{", "\"\u{1}\"", "nul", "\u{feff}1"] {
            assert!(payload(coded.as_bytes()).starts_with("\"payload_base64\":"), "{coded}");
        }
    }

    #[test]
    fn times_that_rfc_3339_cannot_say_are_errors_with_their_position() {
        let day = 24 * 3_600_000_000;
        for micros in [i64::MAX, i64::MIN, -730_120 * day, 2_921_940 * day, i64::MAX - 1] {
            let error = told(b"1", micros, &[]).expect_err("no such time");
            assert!(error.message().starts_with("created_at of the event at position 7 is"));
        }
        let last = told(b"1", 2_921_940 * day - 1, &[]).expect("a line");
        assert!(last.contains("9999-12-31T23:59:59.999999Z"), "{last}");
        let first = told(b"1", -730_119 * day, &[]).expect("a line");
        assert!(first.contains("0001-01-01T00:00:00Z"), "{first}");
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error_with_their_place() {
        let error = told(b"1", 0, &[(6, Some(b"\xff"))]).expect_err("no text");
        assert!(error.message().starts_with("event_type of the event at position 7"), "{error}");
        assert!(told(b"1", 0, &[(7, Some(b"12345678"))]).is_err());
    }
}
