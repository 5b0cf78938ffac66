//! The way of rows from the server into a file. One thread reads what the server sends, another
//! one compresses: the server seldom waits for the compression.

use std::fs::File;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;

use crate::error::{Error, Result};

use super::Format;
use super::checksum::{Sealed, Sink};
use super::column::Column;
use super::source::Source;
use super::wire::Batch;
use super::{copy, parquet};

/// So many batches may wait for the compression.
const QUEUE: usize = 4;

/// The highest level of zstd.
const LEVEL_MAX: i32 = 22;

/// How to write a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// The form of the rows.
    pub format: Format,
    /// The level of zstd; none leaves it to pupctl.
    pub level: Option<i32>,
}

impl Settings {
    /// The level of zstd that is used.
    #[must_use]
    pub fn level(self) -> i32 {
        let usual = match self.format {
            Format::Parquet => parquet::LEVEL,
            Format::Copy => copy::LEVEL,
        };
        self.level.unwrap_or(usual).clamp(1, LEVEL_MAX)
    }

    /// How a manifest names the compression.
    #[must_use]
    pub fn compression(self) -> String {
        format!("zstd -{}", self.level())
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// How many rows.
    pub rows: u64,
    /// How many bytes the server sent for them.
    pub raw_bytes: u64,
    /// The size of the file.
    pub bytes: u64,
    /// The file's SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// Writes the stream of a `COPY … TO STDOUT (FORMAT binary)` into a file, all of which is on the
/// disk at the end. `path` is what messages call it. `watch` is told how many rows and bytes came
/// so far, and stops the work by an error. After an error the server may still be sending: cancel
/// the statement, or the end of its transaction waits for rows that nobody reads.
pub fn write(
    rows: impl BufRead,
    file: File,
    path: &Path,
    columns: &[Column],
    settings: Settings,
    watch: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<Written> {
    let cannot = |failure: Failure| failure.or_system(format!("cannot write {}", path.display()));
    let encoder = Encoder::new(Sink::new(file), columns, settings).map_err(cannot)?;
    let (sender, receiver) = sync_channel(QUEUE);
    let (give_back, spares) = channel();
    thread::scope(|scope| {
        let worker = scope.spawn(move || encode(encoder, receiver, &give_back));
        let pumped = pump(rows, columns, &spares, watch, |batch| sender.send(batch).is_ok());
        if pumped.is_ok() {
            // The end of the rows. A worker that is not told of it leaves the file unfinished, and
            // one that has failed says why.
            let _ = sender.send(Batch::default());
        }
        drop(sender);
        let sealed = worker.join().unwrap_or_else(|_| Err(Failure::panicked()));
        let (rows, raw_bytes) = pumped?;
        let Sealed { bytes, sha256 } = sealed.map_err(cannot)?.ok_or_else(unfinished)?;
        Ok(Written { rows, raw_bytes, bytes, sha256 })
    })
}

/// Only if the end of the rows got lost between two threads.
fn unfinished() -> Error {
    Error::system("cannot write the rows", io::ErrorKind::BrokenPipe.into())
}

/// Reads to the end, or until nobody takes the rows any more. How many rows and bytes came.
fn pump(
    rows: impl BufRead,
    columns: &[Column],
    spares: &Receiver<Vec<u8>>,
    watch: &mut dyn FnMut(u64, u64) -> Result<()>,
    mut send: impl FnMut(Batch) -> bool,
) -> Result<(u64, u64)> {
    let mut source = Source::new(rows, columns.len());
    let (mut count, mut bytes) = (0, 0);
    while let Some(batch) = source.next(spares.try_recv().unwrap_or_default()).map_err(received)? {
        count += batch.rows;
        bytes += batch.bytes.len() as u64;
        if !send(batch) {
            break;
        }
        watch(count, bytes)?;
    }
    Ok((count, bytes))
}

/// Compresses what comes; none where the rows ended before their end.
fn encode(
    mut encoder: Encoder,
    batches: Receiver<Batch>,
    spares: &Sender<Vec<u8>>,
) -> Result<Option<Sealed>, Failure> {
    for batch in batches {
        if batch.is_empty() {
            return encoder.finish().map(Some);
        }
        if let Some(spare) = encoder.batch(batch)? {
            // Nobody needs it at the end.
            let _ = spares.send(spare);
        }
    }
    Ok(None)
}

/// The driver puts the server's errors into those of reading.
fn received(error: io::Error) -> Error {
    match error.downcast::<postgres::Error>() {
        Ok(error) => Error::database("reading the rows", error),
        Err(error) => Error::system("cannot read the rows that the server sends", error),
    }
}

/// Why rows could not be put into a file: the file's fault, or that of a value.
#[derive(Debug)]
pub(super) enum Failure {
    File(io::Error),
    Value(Error),
}

impl Failure {
    fn panicked() -> Self {
        Self::File(io::Error::other("the thread that writes it failed"))
    }

    fn or_system(self, message: String) -> Error {
        match self {
            Self::Value(error) => error,
            Self::File(error) if error.kind() == io::ErrorKind::StorageFull => {
                Error::system(message, error).hint("make room on the disk, or name another folder")
            }
            Self::File(error) => Error::system(message, error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

enum Encoder {
    Copy(Box<copy::Encoder>),
    Parquet(Box<parquet::Encoder>),
}

impl Encoder {
    fn new(sink: Sink, columns: &[Column], settings: Settings) -> Result<Self, Failure> {
        let level = settings.level();
        Ok(match settings.format {
            Format::Copy => Self::Copy(Box::new(copy::Encoder::new(sink, level)?)),
            Format::Parquet => {
                Self::Parquet(Box::new(parquet::Encoder::new(sink, columns, level)?))
            }
        })
    }

    /// Takes rows, and gives their memory back where it is not kept.
    fn batch(&mut self, batch: Batch) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Copy(encoder) => {
                encoder.batch(&batch)?;
                Ok(Some(batch.bytes))
            }
            Self::Parquet(encoder) => encoder.batch(batch).map(|()| None),
        }
    }

    fn finish(self) -> Result<Sealed, Failure> {
        match self {
            Self::Copy(encoder) => Ok(encoder.finish()?),
            Self::Parquet(encoder) => encoder.finish(),
        }
    }
}
