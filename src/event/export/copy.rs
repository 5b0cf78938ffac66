//! The way of rows from the server to the lines of a file.

use std::io::{self, Write};

use postgres::CopyOutReader;

use crate::error::{Error, Kind, Result};

use super::row::Rows;
use super::write;
use super::{Exported, Progress};
use crate::event::model::STORED_COLUMNS;

/// So many events are written between two reports of how far it is.
const REPORT_EVERY: u64 = 256;

/// Where rows go, and how many went there.
pub(super) struct Copy<'a> {
    extra: &'a [String],
    out: &'a mut dyn Write,
    progress: &'a mut dyn Progress,
    line: Vec<u8>,
    done: Exported,
}

impl<'a> Copy<'a> {
    /// Nothing is written yet. `extra` are the columns after those of every store.
    pub(super) fn new(
        extra: &'a [String],
        out: &'a mut dyn Write,
        progress: &'a mut dyn Progress,
    ) -> Self {
        Self { extra, out, progress, line: Vec::new(), done: Exported::default() }
    }

    /// Writes the rows of one statement.
    pub(super) fn rows(&mut self, reader: CopyOutReader<'_>) -> Result<()> {
        let columns = STORED_COLUMNS.len() + self.extra.len();
        let mut rows = Rows::new(reader, columns).map_err(unwrap)?;
        while let Some(row) = rows.next().map_err(unwrap)? {
            self.line.clear();
            let position = write::line(row, self.extra, &mut self.line)?;
            self.out.write_all(&self.line).map_err(cannot_write)?;
            self.count(position);
        }
        Ok(())
    }

    fn count(&mut self, position: i64) {
        self.done.events += 1;
        self.done.bytes += self.line.len() as u64;
        self.done.first_position.get_or_insert(position);
        self.done.last_position = Some(position);
        if self.done.events.is_multiple_of(REPORT_EVERY) {
            self.progress.wrote(self.done.events, self.done.bytes);
        }
    }

    /// What was written in all.
    pub(super) fn finish(self) -> Result<Exported> {
        self.out.flush().map_err(cannot_write)?;
        self.progress.wrote(self.done.events, self.done.bytes);
        Ok(self.done)
    }
}

fn cannot_write(error: io::Error) -> Error {
    Error::system("cannot write the events", error)
}

/// The driver puts the server's errors into those of reading.
fn unwrap(error: io::Error) -> Error {
    match error.downcast::<postgres::Error>() {
        Ok(error) => explain(error),
        Err(error) => Error::system("cannot read the events", error),
    }
}

/// What the server said, with what helps.
pub(super) fn explain(error: postgres::Error) -> Error {
    let error = Error::database("reading the events", error);
    match error.sqlstate() {
        Some("55P03") => Error::new(Kind::LockTimeout, error.message().to_owned())
            .hint("somebody holds a partition: try again, or wait longer with --lock-budget"),
        Some("40001") => error.hint(
            "export from the primary server, or raise max_standby_streaming_delay on the standby",
        ),
        Some("42P01") => error.hint("a partition was dropped meanwhile: run the command again"),
        _ => error,
    }
}
