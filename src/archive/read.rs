//! Reads the rows of a file back, in a thread of its own, so that whoever takes them can hash them
//! or send them to a server meanwhile.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use crate::error::{Error, Result};

use super::Format;
use super::column::Column;
use super::contents::{Contents, Tally};
use super::wire::Batch;
use super::{copy, parquet};

/// So many batches may wait to be taken.
const QUEUE: usize = 2;

/// The rows of a file.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    batches: Option<Receiver<Message>>,
    spares: Sender<Vec<u8>>,
    worker: Option<JoinHandle<()>>,
}

enum Message {
    Rows(Batch),
    End,
    Failed(io::Error),
}

impl Reader {
    /// Begins to read a file, which must hold these columns.
    pub fn open(path: &Path, format: Format, columns: &[Column]) -> Result<Self> {
        let file = File::open(path)
            .map_err(|error| Error::system(format!("cannot open {}", path.display()), error))?;
        let decoder = Decoder::new(file, format, columns).map_err(|error| damaged(path, &error))?;
        let (sender, batches) = sync_channel(QUEUE);
        let (spares, returned) = channel();
        let worker = std::thread::Builder::new()
            .name("archive reader".to_owned())
            .spawn(move || decode(decoder, &sender, &returned))
            .map_err(|error| Error::system("cannot start a thread", error))?;
        Ok(Self { path: path.to_owned(), batches: Some(batches), spares, worker: Some(worker) })
    }

    /// The next rows; none at the end.
    pub fn batch(&mut self) -> Result<Option<Batch>> {
        let Some(batches) = &self.batches else { return Ok(None) };
        match batches.recv() {
            Ok(Message::Rows(batch)) => return Ok(Some(batch)),
            Ok(Message::End) => {}
            Ok(Message::Failed(error)) => {
                self.batches = None;
                return Err(damaged(&self.path, &error));
            }
            Err(_) => {
                self.batches = None;
                return Err(damaged(&self.path, &io::Error::other("its form is not valid")));
            }
        }
        self.batches = None;
        Ok(None)
    }

    /// Gives the memory of rows back, to be used again.
    pub fn recycle(&self, batch: Batch) {
        // Nobody needs it at the end.
        let _ = self.spares.send(batch.bytes);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The thread ends when it finds that nobody takes its rows.
        self.batches = None;
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

fn decode(mut decoder: Decoder, sender: &SyncSender<Message>, returned: &Receiver<Vec<u8>>) {
    loop {
        let message = match decoder.next(returned.try_recv().unwrap_or_default()) {
            Ok(Some(batch)) => Message::Rows(batch),
            Ok(None) => Message::End,
            Err(error) => Message::Failed(error),
        };
        let goes_on = matches!(message, Message::Rows(_));
        if sender.send(message).is_err() || !goes_on {
            return;
        }
    }
}

/// What a file really holds. `watch` is told how many rows were read, and stops the work by an
/// error.
pub fn prove(
    path: &Path,
    format: Format,
    columns: &[Column],
    watch: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Contents> {
    let mut reader = Reader::open(path, format, columns)?;
    let mut tally = Tally::new(columns);
    while let Some(batch) = reader.batch()? {
        tally.batch(&batch);
        reader.recycle(batch);
        watch(tally.rows())?;
    }
    Ok(tally.contents())
}

fn damaged(path: &Path, error: &io::Error) -> Error {
    let message = format!("{} cannot be read back: {error}", path.display());
    Error::refused(message).hint("the file is damaged, or it is not the one that was written")
}

enum Decoder {
    Copy(Box<copy::Decoder>),
    Parquet(Box<parquet::Decoder>),
}

impl Decoder {
    fn new(file: File, format: Format, columns: &[Column]) -> io::Result<Self> {
        Ok(match format {
            Format::Copy => Self::Copy(Box::new(copy::Decoder::new(file, columns.len())?)),
            Format::Parquet => Self::Parquet(Box::new(parquet::Decoder::new(file, columns)?)),
        })
    }

    fn next(&mut self, spare: Vec<u8>) -> io::Result<Option<Batch>> {
        match self {
            Self::Copy(decoder) => decoder.next(spare),
            Self::Parquet(decoder) => decoder.next(spare),
        }
    }
}
