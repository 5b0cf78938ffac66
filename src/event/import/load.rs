//! The second way through a file: its events go into the store, each part of the file in one
//! transaction with the heads of its aggregates and the note in the journal.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use postgres::Transaction;
use serde_json::json;

use crate::db::{Interrupt, Locked};
use crate::error::{Error, Kind, Result};
use crate::event::model::{COLUMNS, Event};
use crate::failpoint::reach;
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::operation::journal;
use crate::render::environment::{render, values};

use super::encode::Rows;
use super::extra::Column;
use super::line;
use super::skipped::Skipped;
use super::source::{Lines, Source};
use super::staging::{broken, explain_lock, limit_locks, row_of};
use super::survey::{Batch, LINES_PER_LOOK, send};
use super::text::TextRows;
use super::{CHUNKS_WAITING, Checked, Loaded, Options, Phase, Progress, Store, receive, worker};

/// How many bytes of rows are sent at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// What is going on while rows are sent, for errors.
const COPYING: &str = "copying events to the server";

/// What the reader has for the transaction that runs.
enum Message {
    /// Rows, a part of a copy.
    Rows(Vec<u8>),
    /// The end of the copy, and how many rows it has.
    End(Vec<u8>, u64),
}

/// What loading needs to know.
pub struct Load<'a> {
    /// The store.
    pub store: Store<'a>,
    /// The file.
    pub source: &'a Source,
    /// What its first reading found.
    pub checked: &'a Checked,
    /// How to import it.
    pub options: Options,
    /// Raised when the user wants it to end.
    pub interrupt: &'a Interrupt,
}

impl Load<'_> {
    /// Loads all parts. `operation` is the row of the journal.
    pub fn run(
        &self,
        locked: &mut Locked,
        operation: i64,
        progress: &mut dyn Progress,
    ) -> Result<Loaded> {
        let bytes = Arc::new(AtomicU64::new(0));
        let read = AtomicU64::new(0);
        let lines = self.source.lines(self.options.line_bytes_max, Arc::clone(&bytes))?;
        let (sender, receiver) = sync_channel(CHUNKS_WAITING);
        let reader = Reader {
            batches: &self.checked.batches,
            skipped: &self.checked.skipped,
            extra: &self.checked.extra,
            sender,
            interrupt: self.interrupt,
            read: &read,
        };
        let mut tell = |progress: &mut dyn Progress| {
            progress.read(bytes.load(Ordering::Relaxed), read.load(Ordering::Relaxed));
        };
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || reader.run(lines));
            let loaded = self.batches(locked, operation, receiver, progress, &mut tell);
            let read = worker(reading);
            match loaded {
                Ok(loaded) => read.map(|()| loaded),
                // It got no more rows: the reader knows why.
                Err(error) if error.kind() == Kind::System => Err(read.err().unwrap_or(error)),
                Err(error) if error.kind() == Kind::Connection => Err(error.hint(
                    "run it again: what was loaded is whole, and the rest goes on from there",
                )),
                Err(error) => Err(self.interrupt.explain(error)),
            }
        })
    }

    #[expect(clippy::needless_pass_by_value, reason = "its end tells the reader to stop")]
    fn batches(
        &self,
        locked: &mut Locked,
        operation: i64,
        receiver: Receiver<Message>,
        progress: &mut dyn Progress,
        tell: &mut dyn FnMut(&mut dyn Progress),
    ) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        let parts = self.checked.batches.len();
        let mut after = 0;
        for (number, batch) in self.checked.batches.iter().enumerate() {
            progress.phase(Phase::Loading { part: number + 1, parts });
            let schema = locked.schema().to_owned();
            let mut transaction = locked
                .client()
                .transaction()
                .map_err(|error| Error::database("beginning to load events", error))?;
            let mut next = || {
                let message = receive(&receiver, || tell(progress));
                message.ok_or_else(|| Error::new(Kind::System, "the file was not read to its end"))
            };
            loaded.events += self.copy(&mut transaction, after, &mut next)?;
            reach("import::copied");
            loaded.heads += self.move_heads(&mut transaction, number)?;
            let state = json!({"lines": batch.last_line, "digest": batch.digest});
            journal::note(&mut transaction, &schema, operation, &state)?;
            if number + 1 == parts {
                let done = self.checked.prefix_operations();
                journal::forget(&mut transaction, &schema, &done)?;
            }
            self.interrupt.check()?;
            reach("import::before_commit");
            transaction.commit().map_err(|error| Error::database("committing events", error))?;
            reach("import::after_commit");
            after = batch.last_line;
        }
        Ok(loaded)
    }

    /// Copies the events of a part, the lines behind `after`.
    fn copy(
        &self,
        transaction: &mut Transaction<'_>,
        after: u64,
        next: &mut dyn FnMut() -> Result<Message>,
    ) -> Result<u64> {
        let explain = |error: Error| self.explain(error, after);
        let sql = self.prepare(transaction).map_err(explain)?;
        let mut writer =
            transaction.copy_in(&sql).map_err(|error| explain(Error::database(COPYING, error)))?;
        let rows = loop {
            match next()? {
                Message::Rows(rows) => {
                    writer.write_all(&rows).map_err(|error| explain(broken(&error)))?;
                }
                Message::End(rows, count) => {
                    writer.write_all(&rows).map_err(|error| explain(broken(&error)))?;
                    break count;
                }
            }
        };
        let copied = writer.finish().map_err(|error| explain(Error::database(COPYING, error)))?;
        if copied == rows {
            return Ok(copied);
        }
        Err(Error::refused(format!("{rows} events were sent, but {copied} went in"))
            .hint("a trigger on the events table leaves some out: see \\d of the table in psql"))
    }

    /// Takes the locks on the tables, and asks for what may be asked before. Gives back the COPY.
    fn prepare(&self, transaction: &mut Transaction<'_>) -> Result<String> {
        limit_locks(transaction, self.options.lock_timeout, true)?;
        // The heads are moved here, once for the whole part, and by the same compare-and-set.
        transaction
            .batch_execute(include_str!("../../../sql/event/import/maintenance.sql"))
            .map_err(|error| Error::database("preparing to load events", error))?;
        // Heads before events, as everything that locks both.
        let heads = self.store.table(Role::Heads);
        transaction
            .batch_execute(&render("event/import/lock_heads", &values! { heads }))
            .map_err(|error| Error::database("locking the heads", error))?;
        let events = self.store.table(Role::Events);
        let further = self.checked.extra.iter().map(|column| column.name.as_str());
        let columns: Vec<_> = COLUMNS.iter().copied().chain(further).collect();
        transaction
            .batch_execute(&render("event/import/may_insert", &values! { events, columns }))
            .map_err(|error| Error::database(COPYING, error))?;
        let format = if self.checked.extra.is_empty() { "BINARY" } else { "TEXT" };
        Ok(render("event/import/copy", &values! { events, columns, format }))
    }

    fn move_heads(&self, transaction: &mut Transaction<'_>, batch: usize) -> Result<u64> {
        let heads: QualifiedName = self.store.table(Role::Heads);
        let batch = i32::try_from(batch).unwrap_or(i32::MAX);
        let row = transaction
            .query_one(&render("event/import/move_heads", &values! { heads }), &[&batch])
            .map_err(|error| {
                let error = Error::database("moving the heads of the aggregates", error);
                if error.sqlstate() == Some("23505") { moved(1) } else { explain_lock(error) }
            })?;
        let [wanted, done]: [i64; 2] = [row.get("wanted"), row.get("done")];
        if wanted == done { Ok(done.cast_unsigned()) } else { Err(moved(wanted - done)) }
    }

    /// Says at which line of the file a copy failed.
    fn explain(&self, error: Error, after: u64) -> Error {
        let source = self.source.name();
        let error = explain_lock(error);
        let Some(row) = row_of(&error) else { return known_id(source, error) };
        let line = self.checked.skipped.line_of_row(after, row);
        match error.sqlstate() {
            Some("23505") => Error::refused(format!(
                "{source}, line {line}: somebody else wrote this event, or one of its version"
            ))
            .details(error.detail_lines().first().cloned())
            .hint("run it again: what is there by then is told, or left out with --skip-existing"),
            _ => error.context(format!("{source}, line {line}")),
        }
    }
}

/// The key table of event ids knows more than the partition to which an event goes.
fn known_id(source: &str, error: Error) -> Error {
    let key = error.detail_lines().iter().find(|line| line.contains("(event_id)=(")).cloned();
    match key.filter(|_| error.sqlstate() == Some("23505")) {
        Some(key) => Error::refused(format!(
            "{source}: an event has an event_id that the store knows from another partition, or \
             from an event that is gone"
        ))
        .detail(key)
        .hint("leave the event out; or delete its id from pupctl_event_ids, if it is to come back"),
        None => error,
    }
}

/// Somebody else was there between the checks and the load.
fn moved(aggregates: i64) -> Error {
    let heads = match aggregates {
        1 => "the head of an aggregate".to_owned(),
        several => format!("the heads of {several} aggregates"),
    };
    Error::refused(format!("{heads} moved while the file was loaded")).hint(
        "somebody else writes to these aggregates: run it again afterwards; or a trigger on the \
         events table moves the heads: disable it for the import",
    )
}

/// Reads the events of a file again.
struct Reader<'a> {
    batches: &'a [Batch],
    skipped: &'a Skipped,
    extra: &'a [Column],
    sender: SyncSender<Message>,
    interrupt: &'a Interrupt,
    /// How many lines were read so far, for whoever shows it.
    read: &'a AtomicU64,
}

impl Reader<'_> {
    /// Reads to the end of the last batch.
    fn run(self, mut lines: Lines) -> Result<()> {
        let mut rows = Encoder::of(self.extra);
        let mut count = 0;
        let mut more = lines.advance()?;
        for (number, batch) in (1..).zip(self.batches) {
            while more && lines.number() <= batch.last_line {
                let line = lines.number();
                if line.is_multiple_of(LINES_PER_LOOK) {
                    self.interrupt.check()?;
                    self.read.store(line, Ordering::Relaxed);
                }
                if !self.skipped.contains(line) {
                    let event = line::parse(lines.line()).map_err(|_| changed(&lines))?;
                    rows.event(&event, self.extra);
                    count += 1;
                    if rows.bytes() >= CHUNK_BYTES {
                        self.send(rows.take())?;
                    }
                }
                more = lines.advance()?;
            }
            // What came behind the last line was not checked, and would be missing without a word.
            let is_longer = more && number == self.batches.len();
            if is_longer || lines.digest() != batch.digest {
                return Err(changed(&lines));
            }
            send(&self.sender, Message::End(rows.finish(), std::mem::take(&mut count)))?;
        }
        Ok(())
    }

    /// Sends rows; one that is very long in pieces, since several wait at once on their way. A
    /// copy may be cut anywhere.
    fn send(&self, rows: Vec<u8>) -> Result<()> {
        if rows.len() <= 2 * CHUNK_BYTES {
            return send(&self.sender, Message::Rows(rows));
        }
        rows.chunks(CHUNK_BYTES)
            .try_for_each(|piece| send(&self.sender, Message::Rows(piece.to_vec())))
    }
}

/// Binary is faster; text is for columns of any type.
enum Encoder {
    Binary(Rows),
    Text(TextRows),
}

impl Encoder {
    fn of(extra: &[Column]) -> Self {
        if extra.is_empty() { Self::Binary(Rows::begin()) } else { Self::Text(TextRows::default()) }
    }

    fn event(&mut self, event: &Event<'_>, extra: &[Column]) {
        match self {
            Self::Binary(rows) => rows.event(event),
            Self::Text(rows) => rows.event(event, extra),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Binary(rows) => rows.bytes(),
            Self::Text(rows) => rows.bytes(),
        }
    }

    fn take(&mut self) -> Vec<u8> {
        match self {
            Self::Binary(rows) => rows.take(),
            Self::Text(rows) => rows.take(),
        }
    }

    fn finish(&mut self) -> Vec<u8> {
        match self {
            Self::Binary(rows) => rows.finish(),
            Self::Text(rows) => rows.take(),
        }
    }
}

fn changed(lines: &Lines) -> Error {
    Error::refused(format!("{} changed while it was imported", lines.name()))
        .hint("run it again when nobody writes to the file any more")
}
