//! Takes a binary COPY apart into batches of whole rows.

use std::io::{self, BufRead};

use super::wire::{Batch, HEADER, TRAILER, malformed, scan};

/// So many bytes make a batch, about: enough to make its way between threads cheap, little enough
/// to stay in the caches of the processor.
pub(super) const BATCH_BYTES: usize = 1 << 20;

/// Rows that come in as a binary COPY.
#[derive(Debug)]
pub(super) struct Source<R> {
    reader: R,
    columns: usize,
    /// Bytes that were read and are no whole row yet.
    rest: Vec<u8>,
    begun: bool,
    /// The reader has no more. The driver's must not be asked again.
    drained: bool,
    ended: bool,
}

impl<R: BufRead> Source<R> {
    /// Nothing is read yet. Every row must have so many columns.
    pub(super) fn new(reader: R, columns: usize) -> Self {
        Self { reader, columns, rest: Vec::new(), begun: false, drained: false, ended: false }
    }

    /// The next rows, in the memory of those before; none at the end.
    pub(super) fn next(&mut self, mut spare: Vec<u8>) -> io::Result<Option<Batch>> {
        if self.ended {
            return Ok(None);
        }
        spare.clear();
        std::mem::swap(&mut self.rest, &mut spare);
        let mut bytes = spare;
        if !self.begun {
            self.header(&mut bytes)?;
        }
        let mut wanted = BATCH_BYTES;
        loop {
            let came = self.fill(&mut bytes, wanted)?;
            let scanned = scan(&bytes, self.columns)?;
            if scanned.ended {
                self.finish(bytes.len() - scanned.bytes)?;
            } else if !came {
                return Err(truncated());
            }
            if scanned.rows > 0 || scanned.ended {
                if !scanned.ended {
                    self.rest.clear();
                    self.rest.extend_from_slice(&bytes[scanned.bytes..]);
                }
                bytes.truncate(scanned.bytes);
                let batch = Batch { bytes, rows: scanned.rows };
                return Ok((!batch.is_empty()).then_some(batch));
            }
            // One row is larger than that: the longer the look, the longer until the next.
            wanted = bytes.len().saturating_mul(2);
        }
    }

    /// Reads until there are so many bytes; whether more may come.
    fn fill(&mut self, bytes: &mut Vec<u8>, wanted: usize) -> io::Result<bool> {
        while bytes.len() < wanted && !self.drained {
            let read = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.drained = read.is_empty();
            bytes.extend_from_slice(read);
            let length = read.len();
            self.reader.consume(length);
        }
        Ok(!self.drained)
    }

    fn header(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.fill(bytes, HEADER.len())?;
        let Some(header) = bytes.first_chunk::<{ HEADER.len() }>() else {
            return Err(truncated());
        };
        // PostgreSQL has never written a flag or an extension.
        if header != HEADER {
            return Err(malformed("it does not begin as a binary COPY does"));
        }
        bytes.drain(..HEADER.len());
        self.begun = true;
        Ok(())
    }

    /// Reads on to the end, where the server tells whether all went well.
    fn finish(&mut self, unread: usize) -> io::Result<()> {
        self.ended = true;
        let mut further = Vec::new();
        self.fill(&mut further, 1)?;
        if unread > TRAILER.len() || !further.is_empty() {
            return Err(malformed("there is something after its end"));
        }
        Ok(())
    }
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle")
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;
    use crate::archive::wire::tests::row;

    fn stream(rows: &[Vec<u8>]) -> Vec<u8> {
        [HEADER.as_slice(), &rows.concat(), &TRAILER].concat()
    }

    fn read(reader: impl BufRead) -> io::Result<Vec<u8>> {
        let mut source = Source::new(reader, 1);
        let (mut all, mut spare) = (Vec::new(), Vec::new());
        while let Some(batch) = source.next(std::mem::take(&mut spare))? {
            assert_eq!(batch.rows().count() as u64, batch.len());
            all.extend_from_slice(&batch.bytes);
            spare = batch.bytes;
        }
        assert!(source.next(Vec::new())?.is_none());
        Ok(all)
    }

    #[test]
    fn batches_are_all_that_came() {
        let large = vec![7; BATCH_BYTES * 3];
        let rows: Vec<_> = (0..3000_usize).map(|size| row(&[Some(&large[..size])])).collect();
        for rows in [&[][..], &rows, &[row(&[Some(&large)]), row(&[None]), row(&[Some(&large)])]] {
            let bytes = stream(rows);
            assert_eq!(read(bytes.as_slice()).expect("rows"), rows.concat());
            let slow = BufReader::with_capacity(7, bytes.as_slice().take(u64::MAX));
            assert_eq!(read(slow).expect("rows"), rows.concat());
        }
    }

    #[test]
    fn what_is_cut_off_or_of_another_form_is_an_error() {
        let bytes = stream(&[row(&[Some(b"abc")]), row(&[None])]);
        for end in 0..bytes.len() {
            let error = read(&bytes[..end]).expect_err("cut off");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}");
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(read(longer.as_slice()).expect_err("too long").to_string().contains("after"));
        assert!(read([b'x'; 100].as_slice()).expect_err("no copy").to_string().contains("begin"));
        let other = stream(&[row(&[None, None])]);
        let error = read(other.as_slice()).expect_err("two fields");
        assert_eq!(error.to_string(), "a row has 2 fields, not 1");
    }
}
