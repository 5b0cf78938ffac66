//! The exchange: the new partitions enter the tree in place of the old one.

use std::time::{Duration, Instant};

use postgres::{Client, Transaction};

use crate::db::snapshots::{Begin, Moment};
use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::finding::holder::Holder;
use crate::layout::name::QualifiedName;
use crate::plan::transfer::Transfer;
use crate::render;

use super::{Run, own_pids, rows};

/// The pause between two tries; each further one doubles it.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// Why a try did not succeed.
enum Setback {
    /// Somebody held a lock.
    Lock(Error),
    /// Somebody reads with a snapshot from before the last copy.
    Snapshots(Vec<Holder>),
}

impl Run<'_> {
    /// Tries until it succeeds or the time is over.
    pub(super) fn exchange(
        &mut self,
        client: &mut Client,
        transfer: &Transfer,
        after: i64,
    ) -> Result<()> {
        let start = Instant::now();
        let pids = own_pids(client, self.second)?;
        self.second
            .batch_execute(include_str!("../../../sql/transfer/tail.sql"))
            .map_err(|error| Error::database("preparing the second session", error))?;
        let (mut pause, mut told) = (PAUSE_FIRST, false);
        let mut copied = Moment::now(self.second)?;
        loop {
            self.interrupt.check()?;
            // Without a lock yet, so that nobody waits for those who have read for long.
            let older = copied.older(self.second, &tables(transfer), &[], &pids, None)?;
            let older = older.holders;
            let setback = if older.is_empty() {
                match self.attempt(client, transfer, after, pids, &mut copied)? {
                    None => return Ok(()),
                    Some(setback) => setback,
                }
            } else {
                Setback::Snapshots(older)
            };
            if start.elapsed() + pause >= self.limits.budget {
                return Err(self.exhausted(transfer, setback));
            }
            if !told {
                told = true;
                self.tell_of(&setback);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    fn tell_of(&mut self, setback: &Setback) {
        match setback {
            Setback::Lock(_) => self.progress.tell("Waiting for locks, a moment at a time"),
            Setback::Snapshots(holders) => {
                let words: Vec<_> = holders.iter().map(ToString::to_string).collect();
                self.progress.tell(&format!("Waiting for older readers: {}", words.join("; ")));
            }
        }
    }

    /// One try; nothing is changed unless it succeeds, but for rows that are copied.
    fn attempt(
        &mut self,
        client: &mut Client,
        transfer: &Transfer,
        after: i64,
        pids: [i32; 2],
        copied: &mut Moment,
    ) -> Result<Option<Setback>> {
        // A try that fails leaves the rows of its tail behind, which are not copied again.
        let reached = rows::reached(self.second, &transfer.stage)?;
        let after = reached.map_or(after, |at| at.max(after));
        let mut transaction = client.transaction().map_err(|error| exchanging(transfer, error))?;
        let begin = Instant::now();
        let outcome = self.within(&mut transaction, transfer, after, pids, copied);
        match outcome {
            Ok(None) => {}
            Ok(Some(setback)) => return rolled_back(transaction, transfer, setback),
            Err(error) if is_transient(&error) => {
                return rolled_back(transaction, transfer, Setback::Lock(error));
            }
            Err(error) => return Err(error),
        }
        reach("transfer::before_commit");
        transaction.commit().map_err(|error| exchanging(transfer, error))?;
        let waited = begin.elapsed().as_secs_f64() * 1000.0;
        tracing::info!("writers waited {waited:.1} ms for the exchange");
        Ok(None)
    }

    fn within(
        &mut self,
        transaction: &mut Transaction<'_>,
        transfer: &Transfer,
        after: i64,
        pids: [i32; 2],
        copied: &mut Moment,
    ) -> Result<Option<Setback>> {
        let failed = |error| exchanging(transfer, error);
        transaction
            .batch_execute(include_str!("../../../sql/transfer/exchange.sql"))
            .map_err(failed)?;
        let begin = Begin::sample(self.second, PAUSE_FIRST)?;
        transaction.batch_execute(&render::transfer::lock_writers(transfer).sql).map_err(failed)?;
        self.copy_tail(transfer, after, copied)?;
        let with_rest = match &transfer.rest {
            Some(rest) => rows::has_rows(self.second, rest)?,
            None => false,
        };
        let mut statements = render::transfer::swap(transfer, with_rest).into_iter();
        // The first keeps readers out: who waits for it has begun after the copy.
        if let Some(lock) = statements.next() {
            transaction.batch_execute(&lock.sql).map_err(failed)?;
        }
        let begin = Some(&begin);
        let older = copied.older(self.second, &tables(transfer), &[], &pids, begin)?.holders;
        if !older.is_empty() {
            return Ok(Some(Setback::Snapshots(older)));
        }
        let mut sql = String::new();
        for statement in statements {
            sql.push_str(&statement.sql);
            sql.push_str("\n;\n");
        }
        transaction.batch_execute(&sql).map_err(failed)?;
        Ok(None)
    }

    /// Copies what came since the last round, through the second session, and commits it: the
    /// exchange must find it committed. All writers wait, so positions come in order.
    fn copy_tail(&mut self, transfer: &Transfer, after: i64, copied: &mut Moment) -> Result<()> {
        if rows::copy(self.second, transfer, self.columns, after, None)? > 0 {
            *copied = Moment::now(self.second)?;
        }
        reach("transfer::tail_copied");
        Ok(())
    }

    fn exhausted(&self, transfer: &Transfer, setback: Setback) -> Error {
        let budget = humantime::format_duration(self.limits.budget);
        let mut hint = "nothing was moved: run the command again when they are done, it goes on \
                        from there; or give it more time with --lock-budget"
            .to_owned();
        if transfer.is_split() {
            hint.push_str("; until then changes of its rows are refused, unless you call it off: ");
            hint.push_str(&super::call_off(transfer));
        }
        match setback {
            Setback::Lock(cause) => Error::new(
                Kind::LockTimeout,
                format!(
                    "the locks to move rows out of {} were not free within {budget}",
                    transfer.source
                ),
            )
            .detail(cause.message())
            .hint(hint)
            .because(cause),
            Setback::Snapshots(holders) => Error::new(
                Kind::LockTimeout,
                format!(
                    "others have read for longer than {budget}, and would not find the rows of {} \
                     in their new places",
                    transfer.source
                ),
            )
            .details(holders.iter().map(ToString::to_string))
            .hint(hint),
        }
    }
}

/// What a reader of the rows locks.
fn tables(transfer: &Transfer) -> Vec<QualifiedName> {
    transfer.ancestors.iter().chain([&transfer.source]).cloned().collect()
}

fn rolled_back(
    transaction: Transaction<'_>,
    transfer: &Transfer,
    setback: Setback,
) -> Result<Option<Setback>> {
    transaction.rollback().map_err(|error| exchanging(transfer, error))?;
    Ok(Some(setback))
}

fn exchanging(transfer: &Transfer, error: postgres::Error) -> Error {
    Error::database(&format!("putting partitions in the place of {}", transfer.source), error)
}

/// `lock_not_available` and `deadlock_detected`.
fn is_transient(error: &Error) -> bool {
    matches!(error.sqlstate(), Some("55P03" | "40P01"))
}
