//! Rows in the form of a binary COPY (<https://www.postgresql.org/docs/current/sql-copy.html>).

use std::io;

/// What a binary COPY begins with: signature, no flags, no extension.
pub(super) const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What a binary COPY ends with, in place of a number of fields.
pub(super) const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Whole rows, one after the other, without header and trailer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: u64,
}

impl Batch {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows in their order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (row, after) = Row::first(rest)?;
            rest = after;
            Some(row)
        })
    }
}

/// A row: its number of fields, and of each field the length and the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    bytes: &'a [u8],
}

impl<'a> Row<'a> {
    /// The first of whole rows, and those after it.
    pub(super) fn first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (count, mut rest) = bytes.split_first_chunk::<2>()?;
        for _ in 0..i16::from_be_bytes(*count) {
            let (_, after) = field(rest)?;
            rest = after;
        }
        let (row, after) = bytes.split_at(bytes.len() - rest.len());
        Some((Self { bytes: row }, after))
    }

    /// The row with its number of fields.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The fields with their lengths in front, as they are sent.
    pub(super) fn sent_fields(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.bytes.get(2..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (sent, after) = field(rest)?;
            rest = after;
            Some(sent)
        })
    }

    /// The fields; none is NULL.
    pub fn fields(self) -> impl Iterator<Item = Option<&'a [u8]>> {
        self.sent_fields().map(|sent| {
            let (length, bytes) = sent.split_at(4);
            (length != (-1_i32).to_be_bytes()).then_some(bytes)
        })
    }

    /// A field of eight bytes.
    #[must_use]
    pub fn int8(self, number: usize) -> Option<i64> {
        let bytes = self.fields().nth(number)??;
        Some(i64::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// A field with its length, and what comes after it; none where it is not whole.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = i32::from_be_bytes(*bytes.first_chunk()?);
    bytes.split_at_checked(4 + usize::try_from(length).unwrap_or(0))
}

/// What the beginning of some bytes holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// How many bytes are whole rows.
    pub(super) bytes: usize,
    /// How many rows these are.
    pub(super) rows: u64,
    /// Whether the trailer comes after them.
    pub(super) ended: bool,
}

/// Finds the whole rows, each of which must have so many columns.
pub(super) fn scan(bytes: &[u8], columns: usize) -> io::Result<Scanned> {
    let mut scanned = Scanned::default();
    let mut rest = bytes;
    while let Some((count, mut fields)) = rest.split_first_chunk::<2>() {
        if *count == TRAILER {
            scanned.ended = true;
            break;
        }
        let count = i16::from_be_bytes(*count);
        if usize::try_from(count).ok() != Some(columns) {
            return Err(malformed(format!("a row has {count} fields, not {columns}")));
        }
        for _ in 0..columns {
            let Some(length) = fields.first_chunk::<4>() else { return Ok(scanned) };
            if i32::from_be_bytes(*length) < -1 {
                return Err(malformed("a field has no valid length"));
            }
            let Some((_, after)) = field(fields) else { return Ok(scanned) };
            fields = after;
        }
        rest = fields;
        scanned.bytes = bytes.len() - rest.len();
        scanned.rows += 1;
    }
    Ok(scanned)
}

pub(super) fn malformed(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A row of fields.
    pub(in crate::archive) fn row(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = i16::try_from(fields.len()).expect("few fields").to_be_bytes().to_vec();
        for field in fields {
            let length = field.map_or(-1, |field| i32::try_from(field.len()).expect("short"));
            bytes.extend(length.to_be_bytes());
            bytes.extend_from_slice(field.unwrap_or_default());
        }
        bytes
    }

    #[test]
    fn rows_are_found_and_taken_apart() {
        let mut bytes = row(&[Some(&7_i64.to_be_bytes()), None]);
        bytes.extend(row(&[None, Some(b"")]));
        let whole = bytes.len();
        bytes.extend(&row(&[Some(b"abc"), None])[..8]);
        let scanned = scan(&bytes, 2).expect("rows");
        assert_eq!(scanned, Scanned { bytes: whole, rows: 2, ended: false });
        bytes.truncate(whole);
        let batch = Batch { bytes, rows: 2 };
        let rows: Vec<Vec<_>> = batch.rows().map(|row| row.fields().collect()).collect();
        assert_eq!(rows, [[Some(7_i64.to_be_bytes().as_slice()), None], [None, Some(b"")]]);
        let positions: Vec<_> = batch.rows().map(|row| row.int8(0)).collect();
        assert_eq!(positions, [Some(7), None]);
    }

    #[test]
    fn every_cut_leaves_the_whole_rows() {
        let first = row(&[Some(b"abc")]);
        let mut bytes = first.clone();
        bytes.extend(row(&[None]));
        bytes.extend(TRAILER);
        for end in 0..bytes.len() {
            let scanned = scan(&bytes[..end], 1).expect("rows");
            let rows = u64::from(end >= first.len()) + u64::from(end >= first.len() + 6);
            assert_eq!((scanned.rows, scanned.ended), (rows, false), "{end}");
        }
        assert!(scan(&bytes, 1).expect("rows").ended);
        assert!(scan(&bytes, 2).is_err());
        assert!(scan(&[0, 1, 255, 255, 255, 254], 1).is_err());
    }
}
