//! The first rows of a large partition, copied by several sessions into leaves without keys, which
//! are built when the rows are there.
//!
//! Positions are divided into chunks that are the same in every run, and a chunk is one
//! transaction. So a chunk of which the stage has any row is there as a whole, and the next run
//! needs no other memory. What lies behind the last whole chunk follows in the order of positions,
//! when the leaves have their keys.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use postgres::Client;

use crate::db::Interrupt;
use crate::db::names::again_on_collision;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::name::QualifiedName;
use crate::plan::transfer::{Transfer, Unfinished};
use crate::render::environment::{render, values};
use crate::render::transfer::complete;

use super::{Run, Throttle, rows};

/// How many positions a chunk has. A stage that was begun with another number cannot be gone on
/// with.
const CHUNK: i64 = 20_000;

/// What the sessions share.
struct Shared<'a> {
    transfer: &'a Transfer,
    columns: &'a [String],
    throttle: &'a Throttle,
    interrupt: &'a Interrupt,
    /// One of them failed.
    failed: AtomicBool,
}

/// The chunks that are still to be copied.
struct Chunks<'a> {
    client: &'a mut Client,
    source: &'a QualifiedName,
    copied: BTreeSet<i64>,
    after: i64,
    to: i64,
}

impl Chunks<'_> {
    /// The next one: the positions behind which it begins and with which it ends.
    fn next(&mut self) -> Result<Option<(i64, i64)>> {
        loop {
            let sql = render("transfer/next", &values! { source => self.source });
            let row = self
                .client
                .query_one(&sql, &[&self.after, &self.to])
                .map_err(|error| Error::database(&format!("reading {}", self.source), error))?;
            let Some(position) = row.get::<_, Option<i64>>("position") else { return Ok(None) };
            let chunk = chunk_of(position);
            let begin = self.after.max(if chunk == 0 { i64::MIN } else { chunk * CHUNK });
            self.after = (chunk + 1) * CHUNK;
            if !self.copied.contains(&chunk) {
                return Ok(Some((begin, self.after)));
            }
        }
    }
}

/// The first one has all positions below it too.
fn chunk_of(position: i64) -> i64 {
    position.saturating_sub(1).max(0) / CHUNK
}

impl Run<'_> {
    /// Copies all whole chunks up to the settled position, then gives the leaves their keys.
    pub(super) fn fill(&mut self, client: &mut Client, transfer: &Transfer) -> Result<()> {
        let to = self.settled(client)?;
        let copied = copied(client, &transfer.stage)?;
        for worker in self.workers.iter_mut() {
            prepare(worker)?;
        }
        let total = u64::try_from(transfer.rows).ok();
        let words = if copied.is_empty() { "Copying" } else { "Going on to copy" };
        self.progress.phase(&format!("{words} {}", transfer.source), total);
        let chunks = Mutex::new(Chunks {
            client,
            source: &transfer.source,
            copied,
            after: i64::MIN,
            to: to / CHUNK * CHUNK,
        });
        self.share_out(transfer, |worker, shared, tell| copy(worker, shared, &chunks, tell))?;
        let words = format!("Building keys and indexes below {}", transfer.stage);
        let leaves = transfer.unfinished.len();
        self.progress.phase(&words, None);
        tracing::info!("{leaves} leaves");
        let queue = Mutex::new(transfer.unfinished.iter());
        self.share_out(transfer, |worker, shared, _| finish(worker, shared, &queue))
    }

    /// Lets every session work until all of them are done, or one failed.
    fn share_out(
        &mut self,
        transfer: &Transfer,
        work: impl Fn(&mut Client, &Shared<'_>, &Sender<i64>) -> Result<()> + Sync,
    ) -> Result<()> {
        let shared = Shared {
            transfer,
            columns: self.columns,
            throttle: &self.throttle,
            interrupt: self.interrupt,
            failed: AtomicBool::new(false),
        };
        let progress = &mut *self.progress;
        let workers = &mut *self.workers;
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            let threads: Vec<_> = workers
                .iter_mut()
                .map(|worker| {
                    let (tell, shared, work) = (sender.clone(), &shared, &work);
                    scope.spawn(move || {
                        let outcome = work(worker, shared, &tell);
                        shared.failed.fetch_or(outcome.is_err(), Ordering::SeqCst);
                        outcome
                    })
                })
                .collect();
            drop(sender);
            listen(&receiver, |rows| progress.passed(rows));
            let mut outcome = Ok(());
            for thread in threads {
                let ended = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                // The first that failed is the reason of the others.
                outcome = outcome.and(ended);
            }
            outcome
        })
    }
}

fn listen(receiver: &Receiver<i64>, mut passed: impl FnMut(u64)) {
    let mut rows = 0;
    for more in receiver {
        rows += u64::try_from(more).unwrap_or_default();
        passed(rows);
    }
}

/// The chunks that an earlier run copied.
fn copied(client: &mut Client, stage: &QualifiedName) -> Result<BTreeSet<i64>> {
    let rows = client
        .query(&render("transfer/chunks", &values! { stage }), &[&CHUNK])
        .map_err(|error| Error::database(&format!("looking how far {stage} is"), error))?;
    Ok(rows.iter().map(|row| row.get("chunk")).collect())
}

fn prepare(worker: &mut Client) -> Result<()> {
    super::prepare(worker)?;
    worker
        .batch_execute(include_str!("../../../sql/transfer/bulk.sql"))
        .map_err(|error| Error::database("preparing the session", error))
}

fn copy(
    worker: &mut Client,
    shared: &Shared<'_>,
    chunks: &Mutex<Chunks<'_>>,
    tell: &Sender<i64>,
) -> Result<()> {
    while !shared.failed.load(Ordering::SeqCst) {
        shared.interrupt.check()?;
        let next = match chunks.lock() {
            Ok(mut chunks) => chunks.next()?,
            // Another session panicked, which ends all.
            Err(_) => None,
        };
        let Some((after, to)) = next else { break };
        let rows = rows::copy(worker, shared.transfer, shared.columns, after, Some(to))?;
        reach("transfer::chunk_copied");
        // Whoever listens is there until all sessions are done.
        let _ = tell.send(rows);
        shared.throttle.after(rows, shared.interrupt)?;
    }
    Ok(())
}

/// Builds keys and indexes, a leaf at a time.
fn finish<'a>(
    worker: &mut Client,
    shared: &Shared<'_>,
    queue: &Mutex<impl Iterator<Item = &'a Unfinished>>,
) -> Result<()> {
    while !shared.failed.load(Ordering::SeqCst) {
        shared.interrupt.check()?;
        let next = queue.lock().ok().and_then(|mut queue| queue.next());
        let Some(leaf) = next else { break };
        let failed =
            |error| Error::database(&format!("building the indexes of {}", leaf.table), error);
        let statements = complete(leaf);
        again_on_collision(|| {
            let mut transaction = worker.transaction()?;
            for statement in &statements {
                transaction.batch_execute(&statement.sql)?;
            }
            transaction.commit()
        })
        .map_err(failed)?;
        reach("transfer::completed");
        let analyze = render("table/analyze", &values! { table => leaf.table, only => false });
        worker.batch_execute(&analyze).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_end_with_round_positions() {
        assert_eq!(chunk_of(i64::MIN), 0);
        assert_eq!(chunk_of(1), 0);
        assert_eq!(chunk_of(CHUNK), 0);
        assert_eq!(chunk_of(CHUNK + 1), 1);
    }
}
