//! Reads rows of a binary COPY one after the other, in the memory of one row.

use std::io::{self, Read};
use std::ops::Range;

/// What a binary COPY begins with.
const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// A row: its fields as the server sent them; `None` is NULL.
#[derive(Debug, Default)]
pub(super) struct Row {
    bytes: Vec<u8>,
    fields: Vec<Option<Range<usize>>>,
}

impl Row {
    /// A field by its number; none where it is NULL.
    pub(super) fn get(&self, field: usize) -> Option<&[u8]> {
        self.bytes.get(self.fields.get(field)?.clone()?)
    }

    /// A field of eight bytes.
    pub(super) fn int8(&self, field: usize) -> Option<i64> {
        Some(i64::from_be_bytes(self.get(field)?.try_into().ok()?))
    }

    /// A field of four bytes.
    pub(super) fn int4(&self, field: usize) -> Option<i32> {
        Some(i32::from_be_bytes(self.get(field)?.try_into().ok()?))
    }
}

/// The rows of a COPY.
#[derive(Debug)]
pub(super) struct Rows<R> {
    reader: R,
    columns: usize,
    row: Row,
}

impl<R: Read> Rows<R> {
    /// Reads the head. Every row must have so many columns.
    pub(super) fn new(mut reader: R, columns: usize) -> io::Result<Self> {
        let mut signature = [0; SIGNATURE.len()];
        reader.read_exact(&mut signature)?;
        let _flags: [u8; 4] = array(&mut reader)?;
        let extension = u64::from(u32::from_be_bytes(array(&mut reader)?));
        io::copy(&mut reader.by_ref().take(extension), &mut io::sink())?;
        if signature != *SIGNATURE {
            return Err(malformed());
        }
        Ok(Self { reader, columns, row: Row::default() })
    }

    /// The next row, in the place of the one before; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<&Row>> {
        let count = i16::from_be_bytes(array(&mut self.reader)?);
        if count == -1 {
            return self.finish();
        }
        if usize::try_from(count).ok() != Some(self.columns) {
            return Err(malformed());
        }
        self.row.bytes.clear();
        self.row.fields.clear();
        for _ in 0..self.columns {
            let field = self.field()?;
            self.row.fields.push(field);
        }
        Ok(Some(&self.row))
    }

    fn field(&mut self) -> io::Result<Option<Range<usize>>> {
        let length = i32::from_be_bytes(array(&mut self.reader)?);
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| malformed())?;
        let start = self.row.bytes.len();
        self.row.bytes.resize(start + length, 0);
        self.reader.read_exact(&mut self.row.bytes[start..])?;
        Ok(Some(start..start + length))
    }

    /// Reads on to the end, where the server tells whether all went well.
    fn finish(&mut self) -> io::Result<Option<&Row>> {
        if io::copy(&mut self.reader, &mut io::sink())? > 0 {
            return Err(malformed());
        }
        Ok(None)
    }
}

fn array<const LENGTH: usize>(reader: &mut impl Read) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server sent rows in an unknown form")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The bytes of a COPY with these rows.
    pub(in crate::event) fn copy(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        for row in rows {
            bytes.extend(i16::try_from(row.len()).expect("few columns").to_be_bytes());
            for field in row {
                let length = |field: &Vec<u8>| i32::try_from(field.len()).expect("a short field");
                bytes.extend(field.as_ref().map_or(-1, length).to_be_bytes());
                bytes.extend(field.iter().flatten());
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    /// Gives one byte at a time, as a network may.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn rows_come_one_after_the_other() {
        let bytes = copy(&[
            vec![Some(7_i64.to_be_bytes().to_vec()), None],
            vec![Some(8_i64.to_be_bytes().to_vec()), Some(Vec::new())],
        ]);
        let mut rows = Rows::new(Slow(&bytes), 2).expect("a head");
        let row = rows.next().expect("reads").expect("a row");
        assert_eq!((row.int8(0), row.get(1), row.int4(0)), (Some(7), None, None));
        let row = rows.next().expect("reads").expect("a row");
        assert_eq!((row.int8(0), row.get(1)), (Some(8), Some(b"".as_slice())));
        assert!(rows.next().expect("reads").is_none());
    }

    #[test]
    fn what_is_cut_off_or_of_another_form_is_an_error() {
        let bytes = copy(&[vec![Some(vec![1, 2, 3])]]);
        for end in 0..bytes.len() {
            let read = Rows::new(&bytes[..end], 1).and_then(|mut rows| {
                while rows.next()?.is_some() {}
                Ok(())
            });
            assert!(read.is_err(), "{end}");
        }
        assert!(Rows::new(bytes.as_slice(), 2).expect("a head").next().is_err());
        assert!(Rows::new([0; 100].as_slice(), 1).is_err());
    }
}
