//! The first way through a file: every line is read and checked, and what the checks across
//! events need goes to the server. Nothing of the store changes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use uuid::Uuid;

use crate::db::Interrupt;
use crate::error::{Error, Kind, Result};
use crate::event::model::Event;

use super::encode::Rows;
use super::extra::{Column, Extra};
use super::ids::Ids;
use super::line;
use super::pack::Pack;
use super::route::Router;
use super::runs::Runs;
use super::source::Lines;
use super::text::TextRows;

/// How many bytes of rows are sent at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// After how many lines a reader looks whether it was interrupted.
pub(super) const LINES_PER_LOOK: u64 = 1024;

/// Rows for one of the staging tables, a whole copy.
pub(super) enum Chunk {
    /// For the events.
    Packs(Vec<u8>),
    /// For the runs.
    Runs(Vec<u8>),
    /// The fields of further columns, a row for each line from this one on.
    Extra(Vec<u8>, u64),
}

/// A part of the file that is loaded in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// The number of its last line.
    pub(super) last_line: u64,
    /// The digest of the file up to there.
    pub(super) digest: String,
}

/// The beginning of a file, which an import that was interrupted has loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix {
    /// The operation, by its number in the journal.
    pub(super) operation: i64,
    /// How many lines.
    pub(super) lines: u64,
    /// Their digest.
    pub(super) digest: String,
}

/// What bounds a survey.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How many locks one transaction may take.
    pub(super) locks: usize,
    /// How many problems are collected before the reading ends.
    pub(super) problems: usize,
    /// Whether partitions that are missing will be made.
    pub(super) create_partitions: bool,
}

/// What the file holds.
#[derive(Debug, Default)]
pub(super) struct Surveyed {
    /// How many lines, each an event.
    pub(super) lines: u64,
    /// The transactions that will load it.
    pub(super) batches: Vec<Batch>,
    /// The prefixes with which the file begins.
    pub(super) prefixes: Vec<Prefix>,
    /// The event ids that may be there twice; `None` when all may.
    pub(super) suspects: Option<Vec<Uuid>>,
    /// The further columns that the file fills.
    pub(super) extra: Vec<Column>,
}

/// Reads a file to its end.
pub(super) struct Survey<'s, 'r> {
    pub(super) router: &'s mut Router<'r>,
    pub(super) limits: Limits,
    pub(super) prefixes: &'s [Prefix],
    pub(super) extra: Extra,
    pub(super) sender: SyncSender<Chunk>,
    pub(super) interrupt: &'s Interrupt,
    /// How many lines were read so far, for whoever shows it.
    pub(super) read: &'s AtomicU64,
}

impl Survey<'_, '_> {
    /// Reads to the end.
    pub(super) fn run(self, mut lines: Lines) -> Result<Surveyed> {
        let mut reading = Reading {
            survey: self,
            runs: Runs::new(),
            ids: Ids::new(),
            extra: TextRows::default(),
            extra_from: 1,
            pack: Pack::default(),
            packs: Rows::begin(),
            run_rows: Rows::begin(),
            transaction: Transaction::default(),
            found: Surveyed::default(),
            problems: Vec::new(),
            mute: false,
        };
        while lines.advance()? {
            let number = lines.number();
            if number.is_multiple_of(LINES_PER_LOOK) {
                reading.survey.interrupt.check()?;
                reading.survey.read.store(number, Ordering::Relaxed);
            }
            reading.meet_prefixes(&lines, number - 1);
            if let Err(problem) = reading.line(&lines, number) {
                if problem.kind() != Kind::Refused {
                    return Err(problem);
                }
                reading.problems.push(problem);
                if reading.problems.len() >= reading.survey.limits.problems {
                    break;
                }
            }
        }
        reading.end(&lines)
    }
}

struct Reading<'s, 'r> {
    survey: Survey<'s, 'r>,
    runs: Runs,
    ids: Ids,
    extra: TextRows,
    /// The line of its first row.
    extra_from: u64,
    pack: Pack,
    packs: Rows,
    run_rows: Rows,
    transaction: Transaction,
    found: Surveyed,
    problems: Vec<Error>,
    /// Whether the rest is only read to tell all that is wrong with the file.
    mute: bool,
}

impl Reading<'_, '_> {
    fn line(&mut self, lines: &Lines, number: u64) -> Result<()> {
        let problem = |what: String| lines.problem(number, &what);
        let event = line::parse(lines.line()).map_err(problem)?;
        self.survey.extra.note(&event, |what| lines.problem(number, what))?;
        let router = &mut *self.survey.router;
        let place =
            router.place(&event.bounded_context, event.created_at, number).map_err(problem)?;
        let missing = router.places()[place].missing;
        self.mute |= missing && !self.survey.limits.create_partitions;
        if self.mute || !self.problems.is_empty() {
            return Ok(());
        }
        let (group, locks) = (router.places()[place].group, router.places()[place].locks);
        let leaf_locks = router.leaf_locks();
        if !self.transaction.fits(group, locks, leaf_locks, self.survey.limits.locks) {
            self.end_batch(lines, number - 1)?;
        }
        self.transaction.add(group, locks);
        let run = self.runs.add(number, &event).map_err(problem)?;
        self.ids.add(event.event_id);
        self.stage(number, place, run, &event)?;
        self.stage_extra(number, &event)?;
        if self.runs.is_full() {
            self.close_runs()?;
        }
        Ok(())
    }

    fn stage(&mut self, number: u64, place: usize, run: i64, event: &Event<'_>) -> Result<()> {
        self.pack.add(number, place, run, event.aggregate_version, event.event_id);
        if self.pack.is_full() {
            self.pack.write(&mut self.packs);
        }
        if self.packs.bytes() >= CHUNK_BYTES {
            let chunk = Chunk::Packs(self.packs.finish());
            self.send(chunk)?;
        }
        Ok(())
    }

    fn stage_extra(&mut self, number: u64, event: &Event<'_>) -> Result<()> {
        let columns = self.survey.extra.kept();
        if columns.is_empty() {
            return Ok(());
        }
        self.extra.extra(event, columns);
        if self.extra.bytes() >= CHUNK_BYTES {
            self.send_extra(number)?;
        }
        Ok(())
    }

    fn send_extra(&mut self, last_line: u64) -> Result<()> {
        let first_line = std::mem::replace(&mut self.extra_from, last_line + 1);
        let rows = self.extra.take();
        self.send(Chunk::Extra(rows, first_line))
    }

    /// Ends the runs, so that none reaches into the next transaction.
    fn close_runs(&mut self) -> Result<()> {
        let batch = i32::try_from(self.found.batches.len()).unwrap_or(i32::MAX);
        for (key, run) in self.runs.close() {
            run.encode(&key, batch, &mut self.run_rows);
            if self.run_rows.bytes() >= CHUNK_BYTES {
                send(&self.survey.sender, Chunk::Runs(self.run_rows.finish()))?;
            }
        }
        Ok(())
    }

    fn end_batch(&mut self, lines: &Lines, last_line: u64) -> Result<()> {
        self.close_runs()?;
        self.found.batches.push(Batch { last_line, digest: lines.digest() });
        self.transaction = Transaction::default();
        Ok(())
    }

    fn meet_prefixes(&mut self, lines: &Lines, read: u64) {
        let met = |prefix: &&Prefix| prefix.lines == read && prefix.digest == lines.digest();
        self.found.prefixes.extend(self.survey.prefixes.iter().filter(met).cloned());
    }

    fn end(mut self, lines: &Lines) -> Result<Surveyed> {
        if !self.problems.is_empty() {
            return Err(together(self.problems, self.survey.limits.problems));
        }
        self.found.lines = lines.number();
        self.survey.read.store(self.found.lines, Ordering::Relaxed);
        self.meet_prefixes(lines, self.found.lines);
        if self.transaction.rows > 0 {
            self.end_batch(lines, self.found.lines)?;
        }
        self.pack.write(&mut self.packs);
        let chunk = Chunk::Packs(self.packs.finish());
        self.send(chunk)?;
        let chunk = Chunk::Runs(self.run_rows.finish());
        self.send(chunk)?;
        if self.extra.bytes() > 0 {
            self.send_extra(self.found.lines)?;
        }
        self.found.suspects = self.ids.suspects();
        self.found.extra = self.survey.extra.filled();
        Ok(self.found)
    }

    fn send(&self, chunk: Chunk) -> Result<()> {
        send(&self.survey.sender, chunk)
    }
}

/// Whoever receives is gone when its session failed: that is the error to tell.
pub(super) fn send<T>(sender: &SyncSender<T>, message: T) -> Result<()> {
    sender.send(message).map_err(|_| Error::new(Kind::Database, "nobody takes the rows"))
}

/// What a transaction has so far.
#[derive(Default)]
struct Transaction {
    rows: usize,
    locks: usize,
    groups: HashSet<usize>,
    last: Option<usize>,
}

impl Transaction {
    /// Whether one more event fits. It cannot take more locks than its rows would each by
    /// themselves, which counts where a hash decides among many partitions.
    fn fits(&self, group: usize, locks: usize, leaf_locks: usize, most: usize) -> bool {
        let new = self.last != Some(group) && !self.groups.contains(&group);
        let together = self.locks.saturating_add(if new { locks } else { 0 });
        self.rows == 0 || together.min((self.rows + 1) * (leaf_locks + 1)) <= most
    }

    fn add(&mut self, group: usize, locks: usize) {
        self.rows += 1;
        if self.last != Some(group) && self.groups.insert(group) {
            self.locks = self.locks.saturating_add(locks);
        }
        self.last = Some(group);
    }
}

/// Several problems as one error; at `most` the reading ended.
fn together(mut problems: Vec<Error>, most: usize) -> Error {
    let count = problems.len();
    let first = problems.remove(0);
    if problems.is_empty() {
        return first;
    }
    let error = first.details(problems.iter().map(|problem| problem.message().to_owned()));
    if count < most { error } else { error.detail(format!("… only the first {most} are told")) }
}
