//! The exchange: the new partitions enter the tree in place of the old one.

use std::time::{Duration, Instant};

use postgres::{Client, Statement, Transaction};

use crate::db::snapshots::{Begin, Moment};
use crate::error::{Error, Kind, Result};
use crate::failpoint::{is_on, reach};
use crate::finding::holder::Holder;
use crate::layout::name::QualifiedName;
use crate::plan::transfer::Transfer;
use crate::render;
use crate::render::environment::values;
use crate::render::script::joined;

use super::{Run, own_pids, rows};

/// The pause between two tries; each further one doubles it.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// So often it is hoped that no row comes just before the exchange. After that, the last ones are
/// copied while writers wait.
const LATE_MAX: u32 = 3;

/// Why a try did not succeed.
enum Setback {
    /// Somebody held a lock.
    Lock(Error),
    /// Somebody reads with a snapshot from before the last copy.
    Snapshots(Vec<Holder>),
    /// Rows have come since the last copy.
    Late,
}

/// What stays the same from try to try.
struct Site<'a> {
    transfer: &'a Transfer,
    /// The processes of the two sessions.
    pids: [i32; 2],
    /// What a reader of the rows locks.
    tables: Vec<QualifiedName>,
    /// Looks for older snapshots, in the second session.
    older: Statement,
}

/// How the last rows come to the new partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// There are none: the new partitions leave the stage before anybody has to wait, and the try
    /// is over where a row has come meanwhile.
    Free,
    /// They are copied while writers wait.
    Copied,
}

impl Run<'_> {
    /// Tries until it succeeds or the time is over. All is copied and proven up to `after`.
    pub(super) fn exchange(
        &mut self,
        client: &mut Client,
        transfer: &Transfer,
        mut after: i64,
    ) -> Result<()> {
        let start = Instant::now();
        self.second
            .batch_execute(include_str!("../../../sql/transfer/tail.sql"))
            .map_err(|error| Error::database("preparing the second session", error))?;
        let site = Site {
            transfer,
            pids: own_pids(client, self.second)?,
            tables: tables(transfer),
            older: Moment::parsed(self.second)?,
        };
        let (mut pause, mut told, mut late) = (PAUSE_FIRST, false, 0);
        let mut copied = Moment::now(self.second)?;
        loop {
            self.interrupt.check()?;
            // Without a lock yet, so that nobody waits for those who have read for long.
            let older = self.older(&site, &copied, None)?;
            let is_free = late < LATE_MAX && !is_on("transfer::rows_come");
            let tail = if is_free { Tail::Free } else { Tail::Copied };
            let setback = if older.is_empty() {
                match self.attempt(client, &site, after, tail, &mut copied)? {
                    None => return Ok(()),
                    Some(setback) => setback,
                }
            } else {
                Setback::Snapshots(older)
            };
            if start.elapsed() + pause >= self.limits.budget {
                return Err(self.exhausted(transfer, setback));
            }
            if matches!(setback, Setback::Late) {
                late += 1;
                after = self.catch_up_once(client, transfer, after)?;
                copied = Moment::now(self.second)?;
                continue;
            }
            if !told {
                told = true;
                self.tell_of(&setback);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    fn older(
        &mut self,
        site: &Site<'_>,
        copied: &Moment,
        begin: Option<&Begin>,
    ) -> Result<Vec<Holder>> {
        let tables = (site.tables.as_slice(), &[] as &[_], &[] as &[_]);
        Ok(copied.older_by(self.second, &site.older, tables, &site.pids, begin)?.holders)
    }

    fn tell_of(&mut self, setback: &Setback) {
        match setback {
            Setback::Late => {}
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
        site: &Site<'_>,
        after: i64,
        tail: Tail,
        copied: &mut Moment,
    ) -> Result<Option<Setback>> {
        let transfer = site.transfer;
        // A try that fails leaves the rows of its tail behind, which are not copied again.
        let reached = rows::reached(self.second, &transfer.stage)?;
        let after = reached.map_or(after, |at| at.max(after));
        let mut transaction = client.transaction().map_err(|error| exchanging(transfer, error))?;
        let outcome = match tail {
            Tail::Free => self.within_free(&mut transaction, site, after),
            Tail::Copied => self.within(&mut transaction, site, after, copied),
        };
        let begin = match outcome {
            Ok(Ok(begin)) => begin,
            Ok(Err(setback)) => return rolled_back(transaction, transfer, setback),
            Err(error) if error.is_lock_failure() => {
                return rolled_back(transaction, transfer, Setback::Lock(error));
            }
            Err(error) => return Err(error),
        };
        reach("transfer::before_commit");
        transaction.commit().map_err(|error| exchanging(transfer, error))?;
        let waited = begin.elapsed().as_secs_f64() * 1000.0;
        tracing::info!("writers waited {waited:.1} ms for the exchange");
        Ok(None)
    }

    /// Where nothing is left to be copied: what can be done before the locks is done before them.
    /// Gives back since when writers wait.
    fn within_free(
        &mut self,
        transaction: &mut Transaction<'_>,
        site: &Site<'_>,
        after: i64,
    ) -> Result<std::result::Result<Instant, Setback>> {
        let transfer = site.transfer;
        let failed = |error| exchanging(transfer, error);
        let with_rest = self.has_rest(transfer)?;
        let source = &transfer.source;
        let is_late = render::environment::render("transfer/late", &values! { source });
        let is_late = transaction.prepare(&is_late).map_err(failed)?;
        let before = joined(&render::transfer::leave_stage(transfer, with_rest));
        let swap = joined(&render::transfer::swap(transfer, with_rest));
        prepare(transaction, transfer).map_err(failed)?;
        transaction.batch_execute(&before).map_err(failed)?;
        let locked_at = Instant::now();
        transaction.batch_execute(&render::transfer::lock_writers(transfer).sql).map_err(failed)?;
        let late: bool = transaction.query_one(&is_late, &[&after]).map_err(failed)?.get(0);
        if late {
            return Ok(Err(Setback::Late));
        }
        reach("transfer::tail_copied");
        // Nothing was copied since older snapshots were looked for, so nobody can miss a row.
        transaction.batch_execute(&swap).map_err(failed)?;
        Ok(Ok(locked_at))
    }

    /// Where rows come all the time. Gives back since when writers wait.
    fn within(
        &mut self,
        transaction: &mut Transaction<'_>,
        site: &Site<'_>,
        after: i64,
        copied: &mut Moment,
    ) -> Result<std::result::Result<Instant, Setback>> {
        let transfer = site.transfer;
        let failed = |error| exchanging(transfer, error);
        prepare(transaction, transfer).map_err(failed)?;
        let begin = Begin::sample(self.second, PAUSE_FIRST)?;
        let locked_at = Instant::now();
        transaction.batch_execute(&render::transfer::lock_writers(transfer).sql).map_err(failed)?;
        self.copy_tail(transfer, after, copied)?;
        let with_rest = self.has_rest(transfer)?;
        let before = joined(&render::transfer::leave_stage(transfer, with_rest));
        transaction.batch_execute(&before).map_err(failed)?;
        let mut statements = render::transfer::swap(transfer, with_rest);
        // The first keeps readers out: who waits for it has begun after the copy.
        let lock = statements.remove(0);
        transaction.batch_execute(&lock.sql).map_err(failed)?;
        let older = self.older(site, copied, Some(&begin))?;
        if !older.is_empty() {
            return Ok(Err(Setback::Snapshots(older)));
        }
        transaction.batch_execute(&joined(&statements)).map_err(failed)?;
        Ok(Ok(locked_at))
    }

    /// Whether the partition that is there for rows of no month has any.
    fn has_rest(&mut self, transfer: &Transfer) -> Result<bool> {
        transfer.rest.as_ref().map_or(Ok(false), |rest| rows::has_rows(self.second, rest))
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
            Setback::Late => Error::new(
                Kind::LockTimeout,
                format!("rows came to {} for {budget} without a pause", transfer.source),
            )
            .hint(hint),
        }
    }
}

/// What keeps nobody waiting.
fn prepare(
    transaction: &mut Transaction<'_>,
    transfer: &Transfer,
) -> std::result::Result<(), postgres::Error> {
    // Autovacuum gives way when it has kept another waiting for a second (`deadlock_timeout`).
    transaction.batch_execute(include_str!("../../../sql/transfer/maintenance.sql"))?;
    transaction.batch_execute(&render::transfer::lock_maintenance(transfer).sql)?;
    transaction.batch_execute(include_str!("../../../sql/transfer/exchange.sql"))
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
