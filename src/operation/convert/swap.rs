//! One try of the swap, in one transaction: the tables change names, there or back.

use std::time::{Duration, Instant};

use postgres::{Client, Transaction};

use crate::db::snapshots::{Begin, Moment};
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::finding::holder::Holder;
use crate::layout::name::QualifiedName;
use crate::plan::convert::{Phase, Replaced, Strategy};
use crate::render::convert::swap::{lock_all, lock_maintenance};
use crate::render::environment::{render, values};
use crate::render::script::joined;

use super::exchange::{Setback, exchanging};
use super::planned::{Planned, Way, fingerprint, parsed_fingerprint};
use super::record::{self, Record};

/// How often it is looked whether older readers have ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How long the first lock may take, for which nobody queues up: autovacuum gives way after a
/// second (`deadlock_timeout`).
const MAINTENANCE_MILLISECONDS: u32 = 5000;

/// Since when writers are kept out, and everybody; or why the try is over.
type Within = std::result::Result<(Instant, Instant), Setback>;

impl Planned {
    pub(super) fn within(
        &self,
        transaction: &mut Transaction<'_>,
        second: &mut Client,
        record: &mut Record,
        copied: &mut Moment,
        (patience, with_tail): (Duration, bool),
    ) -> Result<Within> {
        let parsed = Parsed::of(self, transaction, second, record)?;
        self.prepare(transaction, patience)?;
        let begin = Begin::sample(second, patience)?;
        reach("convert::before_locks");
        let locked_at = Instant::now();
        // Whoever has read a head goes on to the events: so everybody who has begun is let through
        // first, by the lock that is needed in the end, and nobody who comes later has any lock.
        for statement in self.lock_writers() {
            transaction.batch_execute(&statement.sql).map_err(exchanging)?;
        }
        if self.bring_rows(transaction, second, &parsed, record, copied)? && !with_tail {
            return Ok(Err(Setback::Late));
        }
        let moves = self.moves(transaction)?;
        // A table that only gets another name and place is the same for older snapshots.
        if record.strategy == Strategy::Copy || moves {
            let older = self.outwait(second, copied, &parsed.older, &begin, patience)?;
            if !older.is_empty() {
                return Ok(Err(Setback::Snapshots(older)));
            }
        }
        self.note(record);
        // Already: nobody sees it before the commit, and readers do not wait yet.
        record::advance_by(transaction, &parsed.advance, record)?;
        let all_at = Instant::now();
        // Who waits for this has begun after the copy.
        let locks = joined(self.views.iter().chain([&lock_all(&self.replaced)]));
        transaction.batch_execute(&locks).map_err(exchanging)?;
        if fingerprint(transaction, &parsed.print, &record.tables)? != self.print {
            return Ok(Err(Setback::Changed));
        }
        transaction.batch_execute(&joined(&self.statements)).map_err(exchanging)?;
        if moves {
            let older = self.outwait_moved(second, copied, (&parsed.older, &begin), patience)?;
            if !older.is_empty() {
                return Ok(Err(Setback::Snapshots(older)));
            }
        }
        Ok(Ok((locked_at, all_at)))
    }

    /// What keeps nobody waiting.
    fn prepare(&self, transaction: &mut Transaction<'_>, patience: Duration) -> Result<()> {
        let mut run = |statement: &str| transaction.batch_execute(statement).map_err(exchanging);
        run(&format!("SET LOCAL lock_timeout = {MAINTENANCE_MILLISECONDS}"))?;
        run(&lock_maintenance(&self.maintained()).sql)?;
        // Nobody waits for the disk: whose own commit is on it, this one is as well.
        run(include_str!("../../../sql/convert/asynchronous.sql"))?;
        run(&format!("SET LOCAL lock_timeout = {}", patience.as_millis()))
    }

    /// Brings the last rows to where they will be, while writers wait. Gives back whether there
    /// were events among them.
    fn bring_rows(
        &self,
        transaction: &mut Transaction<'_>,
        second: &mut Client,
        parsed: &Parsed,
        record: &mut Record,
        copied: &mut Moment,
    ) -> Result<bool> {
        let tail = parsed.tail.as_ref();
        let rows = tail.map_or(Ok(0), |tail| Self::copy_tail(tail, second, record))?;
        if rows > 0 {
            *copied = Moment::now(second)?;
        }
        reach("convert::tail_copied");
        if self.way == Way::Back && record.strategy == Strategy::Copy {
            // Here, since nobody else may read heads any more; whoever waits for them reads anew.
            let copying = include_str!("../../../sql/convert/copying.sql");
            transaction.batch_execute(copying).map_err(exchanging)?;
            super::back::copy_heads(transaction, record, self.heads_after)?;
        }
        Ok(rows > 0)
    }

    /// How far the conversion is when this is committed.
    fn note(&self, record: &mut Record) {
        match self.way {
            Way::Forth => {
                record.phase = Phase::Swapped;
                record.swapped_at_position = record.copied_to.or(self.last);
            }
            Way::Back => record.phase = Phase::RolledBack,
        }
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

fn copying(error: postgres::Error) -> Error {
    Error::database("copying the last events", error)
}

fn is_events(table: &Replaced) -> bool {
    table.role == crate::layout::Role::Events
}
