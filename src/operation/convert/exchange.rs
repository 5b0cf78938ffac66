//! The swap: the tables change names, there or back.

use std::time::{Duration, Instant};

use postgres::{Client, Transaction};

use crate::catalog::Catalog;
use crate::db::snapshots::{Begin, Moment};
use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::finding::holder::Holder;
use crate::layout::name::QualifiedName;
use crate::plan::convert::{Phase, Replaced, Strategy};
use crate::render::convert::swap::{lock_all, lock_maintenance};
use crate::render::environment::{render, values};

use super::Converter;
use super::planned::{Planned, Way, fingerprint, parsed_fingerprint};
use super::record::{self, Record};

/// How long the first tries for a lock take: as long as this, everybody queues up behind them.
const TRY_FIRST: Duration = Duration::from_millis(50);

/// So many tries are that short. Beside transactions that are longer, and never end all at once,
/// short ones would never succeed: later ones take longer and longer.
const SHORT_TRIES: u32 = 8;

/// The longest try. Writers that wait for it look for deadlocks after a second (the server's
/// `deadlock_timeout`), and one that has read its head and waits at the events is in one with the
/// swap: a try has to give way first.
const TRY_LONGEST: Duration = Duration::from_millis(400);

/// How often it is looked whether older readers have ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How long the first lock may take, for which nobody queues up: autovacuum gives way after a
/// second (`deadlock_timeout`).
const MAINTENANCE_MILLISECONDS: u32 = 5000;

/// The pause between two tries; each further one doubles it.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_LONGEST: Duration = Duration::from_secs(1);

/// Why a try did not succeed.
enum Setback {
    /// Somebody held a lock.
    Lock(Error),
    /// Somebody reads with a snapshot from before the last rows came to where they will be.
    Snapshots(Vec<Holder>),
    /// An event came for which there is no partition.
    Homeless(Error),
    /// Somebody has changed what hangs on the tables.
    Changed,
}

/// How long writers and readers waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stall {
    /// How many tries it took.
    pub tries: u32,
    /// For how long writers were kept out in the one that succeeded, in microseconds.
    pub writers_us: u64,
    /// For how long everybody was kept out, in microseconds.
    pub everybody_us: u64,
}

impl Converter<'_> {
    /// Tries until the tables have changed names, or the time is over.
    pub(super) fn exchange(&mut self, way: Way) -> Result<Stall> {
        let start = Instant::now();
        let (mut pause, mut told, mut tries) = (PAUSE_FIRST, false, 0);
        self.heads_after = self.record.copied_to.unwrap_or(i64::MIN);
        let mut planned = self.planned(way)?;
        let mut copied = Moment::now(&mut self.first()?.client)?;
        loop {
            self.interrupt.check()?;
            tries += 1;
            let patience = patience(tries);
            // Without a lock yet, so that nobody waits for those who have read for long.
            let moves = planned.moves(self.locked.client())?;
            let older = if self.record.strategy == Strategy::Copy || moves {
                let (tables, heads, pids) = (&planned.tables, planned.heads(), &planned.pids);
                copied.older(&mut self.first()?.client, tables, &heads, pids, None)?.holders
            } else {
                Vec::new()
            };
            let setback = if older.is_empty() {
                match self.attempt(&planned, &mut copied, patience)? {
                    Ok(stall) => return Ok(Stall { tries, ..stall }),
                    Err(setback) => setback,
                }
            } else {
                Setback::Snapshots(older)
            };
            if start.elapsed() + pause >= self.options.limits.budget {
                return Err(self.exhausted(setback));
            }
            if !told {
                told = true;
                self.tell_of(&setback);
            }
            match setback {
                Setback::Homeless(error) => {
                    self.extend(false, error)?;
                    self.protect_all()?;
                    planned = self.planned(way)?;
                }
                Setback::Changed => planned = self.planned(way)?,
                Setback::Lock(_) | Setback::Snapshots(_) => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_LONGEST);
                }
            }
        }
    }

    fn planned(&mut self, way: Way) -> Result<Planned> {
        let pids = self.pids()?;
        let planned = Planned::read(self.locked.client(), &self.record, way)?;
        Ok(Planned { pids, heads_after: self.heads_after, ..planned })
    }

    /// One try; nothing is changed unless it succeeds, but for rows that are copied.
    fn attempt(
        &mut self,
        planned: &Planned,
        copied: &mut Moment,
        patience: Duration,
    ) -> Result<std::result::Result<Stall, Setback>> {
        let Self { locked, workers, record, .. } = self;
        let Some(worker) = workers.first_mut() else {
            return Err(Error::invalid("a conversion needs a session beside the first"));
        };
        let mut attempted = record.clone();
        let client = locked.client();
        let mut transaction = client.transaction().map_err(exchanging)?;
        let second = &mut worker.client;
        let outcome = planned.within(&mut transaction, second, &mut attempted, copied, patience);
        // What was copied is committed, whatever becomes of the rest.
        record.copied_to = attempted.copied_to;
        match outcome {
            Ok(Ok((mut stall, locked_at, all_at))) => {
                reach("convert::before_swap");
                transaction.commit().map_err(exchanging)?;
                stall.writers_us = micros(locked_at);
                stall.everybody_us = micros(all_at);
                reach("convert::swapped");
                *record = attempted;
                Ok(Ok(stall))
            }
            Ok(Err(setback)) => {
                transaction.rollback().map_err(exchanging)?;
                Ok(Err(setback))
            }
            Err(error) if is_transient(&error) => {
                transaction.rollback().map_err(exchanging)?;
                Ok(Err(Setback::Lock(error)))
            }
            // check_violation: no partition takes the row.
            Err(error) if error.sqlstate() == Some("23514") && planned.way == Way::Forth => {
                transaction.rollback().map_err(exchanging)?;
                Ok(Err(Setback::Homeless(error)))
            }
            Err(error) => Err(error),
        }
    }

    fn tell_of(&mut self, setback: &Setback) {
        match setback {
            Setback::Lock(_) => self.progress.tell("Waiting for locks, a moment at a time"),
            Setback::Snapshots(holders) => {
                let words: Vec<_> = holders.iter().map(ToString::to_string).collect();
                let words = format!("Waiting for older readers: {}", words.join("; "));
                self.progress.tell(&words);
            }
            Setback::Homeless(_) | Setback::Changed => {}
        }
    }

    fn exhausted(&self, setback: Setback) -> Error {
        let budget = humantime::format_duration(self.options.limits.budget);
        let hint = "the store is as it was: run the command again when they are done; or give it \
                    more time with --lock-budget";
        match setback {
            Setback::Lock(cause) => Error::new(
                Kind::LockTimeout,
                format!("the locks for the swap were not free within {budget}"),
            )
            .detail(cause.message())
            .hint(hint)
            .because(cause),
            Setback::Snapshots(holders) => Error::new(
                Kind::LockTimeout,
                format!(
                    "others have read for longer than {budget}, and would not find the last rows \
                     in the other table"
                ),
            )
            .details(holders.iter().map(ToString::to_string))
            .hint(hint),
            Setback::Homeless(error) => error,
            Setback::Changed => Error::refused(
                "what hangs on the tables (views, triggers, rights) changes all the time",
            )
            .hint(hint),
        }
    }
}

type Within = std::result::Result<(Stall, Instant, Instant), Setback>;

impl Planned {
    fn within(
        &self,
        transaction: &mut Transaction<'_>,
        second: &mut Client,
        record: &mut Record,
        copied: &mut Moment,
        patience: Duration,
    ) -> Result<Within> {
        let parsed = Parsed::of(self, transaction, second, record)?;
        let mut run = |statement: &str| transaction.batch_execute(statement).map_err(exchanging);
        run(&format!("SET LOCAL lock_timeout = {MAINTENANCE_MILLISECONDS}"))?;
        run(&lock_maintenance(&self.tables).sql)?;
        // Nobody waits for the disk: whose own commit is on it, this one is as well.
        run(include_str!("../../../sql/convert/asynchronous.sql"))?;
        run(&format!("SET LOCAL lock_timeout = {}", patience.as_millis()))?;
        let begin = Begin::sample(second, patience)?;
        let locked_at = Instant::now();
        // Whoever has read a head goes on to the events: so everybody who has begun is let through
        // first, by the lock that is needed in the end, and nobody who comes later has any lock.
        for statement in self.lock_writers() {
            run(&statement.sql)?;
        }
        if let Some(tail) = &parsed.tail
            && Self::copy_tail(tail, second, record)? > 0
        {
            *copied = Moment::now(second)?;
        }
        reach("convert::tail_copied");
        if self.way == Way::Back && record.strategy == Strategy::Copy {
            // Here, since nobody else may read heads any more; whoever waits for them reads anew.
            let copying = include_str!("../../../sql/convert/copying.sql");
            transaction.batch_execute(copying).map_err(exchanging)?;
            super::back::copy_heads(transaction, record, self.heads_after)?;
        }
        let moves = self.moves(transaction)?;
        // A table that only gets another name and place is the same for older snapshots.
        if record.strategy == Strategy::Copy || moves {
            let older = self.outwait(second, copied, &parsed.older, &begin, patience)?;
            if !older.is_empty() {
                return Ok(Err(Setback::Snapshots(older)));
            }
        }
        record.phase = match self.way {
            Way::Forth => Phase::Swapped,
            Way::Back => Phase::RolledBack,
        };
        if self.way == Way::Forth {
            record.swapped_at_position = record.copied_to.or(self.last);
        }
        // Already: nobody sees it before the commit, and readers do not wait yet.
        record::advance_by(transaction, &parsed.advance, record)?;
        let all_at = Instant::now();
        // Who waits for this has begun after the copy.
        let locks = self.views.iter().map(|lock| lock.sql.as_str());
        let all = lock_all(&self.replaced).sql;
        let mut run = |statement: &str| transaction.batch_execute(statement).map_err(exchanging);
        run(&joined(locks.chain([all.as_str()])))?;
        if fingerprint(transaction, &parsed.print, &record.tables)? != self.print {
            return Ok(Err(Setback::Changed));
        }
        let statements = joined(self.statements.iter().map(|statement| statement.sql.as_str()));
        transaction.batch_execute(&statements).map_err(exchanging)?;
        if moves {
            let older = self.outwait_moved(second, copied, (&parsed.older, &begin), patience)?;
            if !older.is_empty() {
                return Ok(Err(Setback::Snapshots(older)));
            }
        }
        Ok(Ok((Stall::default(), locked_at, all_at)))
    }

    /// Those who read with a snapshot from before rows that this transaction itself has moved: they
    /// would find them nowhere when it is committed. Everybody else waits for it meanwhile.
    fn outwait_moved(
        &self,
        second: &mut Client,
        copied: &mut Moment,
        (parsed, begin): (&postgres::Statement, &Begin),
        patience: Duration,
    ) -> Result<Vec<Holder>> {
        let entered = Instant::now();
        // Nobody sees what this transaction does who has not taken his snapshot after its end.
        *copied = Moment::beyond_writers(second)?;
        loop {
            let (tables, heads, pids) = (&self.tables, self.heads(), &self.pids);
            let all = (tables.as_slice(), heads.as_slice(), self.replaced.as_slice());
            let older = copied.older_by(second, parsed, all, pids, Some(begin))?.holders;
            if !older.is_empty() && entered.elapsed() < patience {
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
            if !older.is_empty() {
                return Ok(older);
            }
            // Whoever has come since, and keeps a snapshot between two statements.
            let mut since =
                Moment::now(second)?.older(second, tables, &heads, pids, Some(begin))?.holders;
            since.retain(|holder| holder.state.starts_with("idle in transaction"));
            return Ok(since);
        }
    }

    /// Heads that are replaced: who waits to read them takes another snapshot, and has read nothing
    /// in this statement.
    pub(super) fn heads(&self) -> Vec<QualifiedName> {
        let heads = self.tables.first().filter(|heads| self.replaced.contains(heads));
        heads.into_iter().cloned().collect()
    }

    /// Those who read with a snapshot from before the copy, when they have had some time to end:
    /// nothing but writers waits meanwhile. Whoever begins later has a newer one.
    fn outwait(
        &self,
        second: &mut Client,
        copied: &Moment,
        parsed: &postgres::Statement,
        begin: &Begin,
        patience: Duration,
    ) -> Result<Vec<Holder>> {
        let (since, heads) = (Instant::now(), self.heads());
        loop {
            let tables = (self.tables.as_slice(), heads.as_slice(), &[] as &[QualifiedName]);
            let older = copied.older_by(second, parsed, tables, &self.pids, Some(begin))?;
            if older.holders.is_empty() || older.stuck || since.elapsed() >= patience {
                return Ok(older.holders);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Copies what came since the last round, through the second session, and commits it: the
    /// swap must find it committed. All writers wait, so that nothing appears any more.
    fn copy_tail(tail: &Tail, second: &mut Client, record: &mut Record) -> Result<u64> {
        let mut transaction = second.transaction().map_err(copying)?;
        transaction
            .batch_execute(include_str!("../../../sql/convert/copying.sql"))
            .map_err(copying)?;
        let rows = transaction.execute(&tail.copy, &[]).map_err(copying)?;
        let last = transaction
            .query_one(&tail.reached, &[])
            .map_err(copying)?
            .get::<_, Option<i64>>("position");
        record.copied_to = record.copied_to.max(last);
        record::advance_by(&mut transaction, &tail.advance, record)?;
        transaction.commit().map_err(copying)?;
        Ok(rows)
    }
}

/// What is parsed before anybody has to wait for it: on a busy machine every answer that is waited
/// for takes as long as a turn on a processor.
struct Parsed {
    print: postgres::Statement,
    advance: postgres::Statement,
    /// In the second session.
    older: postgres::Statement,
    tail: Option<Tail>,
}

/// What copies the last rows, in the second session.
struct Tail {
    copy: postgres::Statement,
    reached: postgres::Statement,
    advance: postgres::Statement,
}

impl Parsed {
    fn of(
        planned: &Planned,
        first: &mut Transaction<'_>,
        second: &mut Client,
        record: &Record,
    ) -> Result<Self> {
        let events = record.tables.iter().find(|table| is_events(table));
        let events = events.filter(|_| record.strategy == Strategy::Copy);
        Ok(Self {
            print: parsed_fingerprint(first)?,
            advance: record::parsed_advance(first, &planned.schema)?,
            older: Moment::parsed(second)?,
            tail: events.map(|events| Tail::of(planned, events, second, record)).transpose()?,
        })
    }
}

impl Tail {
    fn of(
        planned: &Planned,
        events: &Replaced,
        second: &mut Client,
        record: &Record,
    ) -> Result<Self> {
        let forth = planned.way == Way::Forth;
        let (from, to) = planned.way.between(events);
        let after = record.copied_to.unwrap_or(i64::MIN);
        let copy = crate::render::convert::copy(from, to, &planned.columns, after, None, forth);
        // In the one that is not divided, whose index has it at its end.
        let whole = if forth { from } else { to };
        let reached = render("transfer/reached", &values! { table => whole });
        let copy = second.prepare(&copy).map_err(copying)?;
        if !forth {
            plan(second, &copy)?;
        }
        Ok(Self {
            copy,
            reached: second.prepare(&reached).map_err(copying)?,
            advance: record::parsed_advance(second, &planned.schema)?,
        })
    }
}

/// Lets the server plan a statement that reads every partition: with hundreds of them that takes
/// longer than the rest of the swap. It keeps the plan.
fn plan(client: &mut Client, statement: &postgres::Statement) -> Result<()> {
    let mut transaction = client.transaction().map_err(copying)?;
    let settings = include_str!("../../../sql/convert/copying.sql");
    transaction.batch_execute(settings).map_err(copying)?;
    transaction.execute(statement, &[]).map_err(copying)?;
    transaction.rollback().map_err(copying)
}

fn joined<'a>(statements: impl IntoIterator<Item = &'a str>) -> String {
    let mut sql = String::new();
    for statement in statements {
        sql.push_str(statement);
        sql.push_str("\n;\n");
    }
    sql
}

fn copying(error: postgres::Error) -> Error {
    Error::database("copying the last events", error)
}

/// How long a try may wait for each lock.
fn patience(tries: u32) -> Duration {
    let doublings = tries.saturating_sub(SHORT_TRIES).div_ceil(2).min(10);
    (TRY_FIRST * 2_u32.pow(doublings)).min(TRY_LONGEST)
}

fn is_events(table: &Replaced) -> bool {
    table.role == crate::layout::Role::Events
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn exchanging(error: postgres::Error) -> Error {
    Error::database("exchanging the tables", error)
}

/// `lock_not_available` and `deadlock_detected`.
fn is_transient(error: &Error) -> bool {
    matches!(error.sqlstate(), Some("55P03" | "40P01"))
}

/// What the catalog says of the store while it is converted.
pub(super) fn has_new_tables(catalog: &Catalog, record: &Record) -> bool {
    record.tables.iter().any(|table| table.built(catalog).is_some())
}
