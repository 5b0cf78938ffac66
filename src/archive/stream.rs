//! The way of rows from a file back to the server, whole or in pieces.

use std::io::{self, Write};

use crate::error::{Error, Result};

use super::column::{Column, landmarks};
use super::contents::{Contents, Tally};
use super::read::Reader;
use super::wire::{Batch, HEADER, Row, TRAILER};

/// Rows of a file on their way into one or several `COPY … FROM STDIN (FORMAT binary)`.
///
/// ```no_run
/// # fn load(client: &mut postgres::Client, columns: &[pupctl::archive::column::Column],
/// #     path: &std::path::Path, copy: &str) -> Result<(), Box<dyn std::error::Error>> {
/// use pupctl::archive::{Format, Reader, Stream};
///
/// let mut stream = Stream::new(Reader::open(path, Format::Parquet, columns)?, columns);
/// while stream.has_more()? {
///     let mut writer = client.copy_in(copy)?;
///     stream.piece(&mut writer, 100_000)?;
///     writer.finish()?;
/// }
/// # Ok(()) }
/// ```
pub struct Stream<'a> {
    reader: Reader,
    tally: Tally,
    position: Option<usize>,
    keep: Option<Keep<'a>>,
    /// Rows that were read and not sent yet, and where they begin.
    waiting: Option<(Batch, usize)>,
}

/// Whether the row at a position is wanted.
type Keep<'a> = Box<dyn FnMut(i64) -> bool + 'a>;

/// What went into one COPY.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Piece {
    /// How many rows.
    pub rows: u64,
    /// The position of the last one.
    pub last_position: Option<i64>,
}

impl<'a> Stream<'a> {
    /// All rows of a file with these columns.
    #[must_use]
    pub fn new(reader: Reader, columns: &[Column]) -> Self {
        let (position, _) = landmarks(columns);
        Self { reader, tally: Tally::new(columns), position, keep: None, waiting: None }
    }

    /// Only the rows at positions that are wanted.
    #[must_use]
    pub fn only(mut self, keep: impl FnMut(i64) -> bool + 'a) -> Self {
        self.keep = Some(Box::new(keep));
        self
    }

    /// Whether the file has rows that were not looked at.
    pub fn has_more(&mut self) -> Result<bool> {
        while self.waiting.as_ref().is_none_or(|(batch, begin)| *begin >= batch.bytes.len()) {
            if let Some((batch, _)) = self.waiting.take() {
                self.reader.recycle(batch);
            }
            let Some(batch) = self.reader.batch()? else { return Ok(false) };
            self.waiting = Some((batch, 0));
        }
        Ok(true)
    }

    /// Writes one COPY from header to trailer, with at most so many rows.
    pub fn piece(&mut self, out: &mut impl Write, rows_max: u64) -> Result<Piece> {
        let mut piece = Piece::default();
        out.write_all(HEADER).map_err(sending)?;
        while piece.rows < rows_max && self.has_more()? {
            let Some((batch, begin)) = self.waiting.take() else { break };
            let end = self.send(out, &batch, begin, rows_max, &mut piece).map_err(sending)?;
            self.waiting = Some((batch, end));
        }
        out.write_all(&TRAILER).map_err(sending)?;
        Ok(piece)
    }

    /// Sends rows of a batch; where the first is that was not looked at.
    fn send(
        &mut self,
        out: &mut impl Write,
        batch: &Batch,
        begin: usize,
        rows_max: u64,
        piece: &mut Piece,
    ) -> io::Result<usize> {
        // Rows that follow each other are written at once.
        let (mut unsent, mut looked) = (begin, begin);
        while piece.rows < rows_max {
            let Some((row, _)) = Row::first(&batch.bytes[looked..]) else { break };
            let position = self.position.and_then(|number| row.int8(number));
            let end = looked + row.bytes().len();
            let is_wanted = match (&mut self.keep, position) {
                (Some(keep), Some(position)) => keep(position),
                _ => true,
            };
            if is_wanted {
                piece.rows += 1;
                piece.last_position = position.or(piece.last_position);
                self.tally.row(row);
            } else {
                out.write_all(&batch.bytes[unsent..looked])?;
                unsent = end;
            }
            looked = end;
        }
        out.write_all(&batch.bytes[unsent..looked])?;
        Ok(looked)
    }

    /// What was sent so far, in all pieces.
    #[must_use]
    pub fn sent(&self) -> Contents {
        self.tally.contents()
    }
}

impl std::fmt::Debug for Stream<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stream").field("sent", &self.sent()).finish_non_exhaustive()
    }
}

/// The driver puts the server's errors into those of writing.
fn sending(error: io::Error) -> Error {
    match error.downcast::<postgres::Error>() {
        Ok(error) => Error::database("loading the rows", error),
        Err(error) => Error::system("cannot send the rows", error),
    }
}
