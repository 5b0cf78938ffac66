//! The events, copied by ranges of positions in several sessions.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use postgres::Client;

use crate::db::settled;
use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::layout::name::QualifiedName;
use crate::operation::archive::Progress;
use crate::plan::convert::ranges::{Range, gaps};
use crate::plan::convert::survey::Survey;
use crate::plan::convert::{Phase, Strategy};
use crate::render;
use crate::render::environment::{render as render_sql, values};

use super::pace::Pace;
use super::pause::PauseWatch;
use super::workers::{Shared, share, share_list};
use super::{Converter, record, session, survey};

/// How many rows one transaction copies, where it need not be slow.
const RANGE_ROWS: i64 = 50_000;

/// The least of a limited rate: below, transactions cost more than rows.
const RANGE_ROWS_MIN: i64 = 100;

/// Hands out ranges of positions.
struct Source {
    gaps: VecDeque<Range>,
    width: i64,
}

impl Converter<'_> {
    /// Copies everything up to the settled position.
    pub(super) fn copy(&mut self) -> Result<()> {
        loop {
            match self.copy_to_settled() {
                // check_violation: no partition takes the row.
                Err(error) if error.sqlstate() == Some("23514") => self.extend(true, error)?,
                outcome => return outcome,
            }
        }
    }

    /// Makes partitions for events of contexts and months that were not there before.
    pub(super) fn extend(&mut self, bare: bool, cause: Error) -> Result<()> {
        let events = self.events()?;
        let after = self.record.copied_to.unwrap_or(i64::MIN);
        let survey = survey(self.locked.client(), &events.current, after)?;
        let before = self.record.after.clone();
        self.progress.tell("Events came for which there is no partition yet: making them");
        let made = self.partitions()?;
        self.make(&survey, bare)?;
        if self.partitions()? == made {
            // It was something else.
            return Err(cause);
        }
        if !bare {
            self.complete_leaves()?;
        }
        if before == self.record.after { Ok(()) } else { self.mirror_more() }
    }

    /// Goes on with an extension that was interrupted: its partitions are made before heads come
    /// to them, and completed before they count.
    pub(super) fn finish_extension(&mut self) -> Result<()> {
        if self.record.strategy != Strategy::Copy || self.record.phase > Phase::Ready {
            return Ok(());
        }
        let bare = self.record.phase < Phase::Verifying;
        if self.mirrors_less()? {
            self.make(&Survey::default(), bare)?;
            self.mirror_more()?;
        }
        if !bare {
            self.complete_leaves()?;
            self.protect_all()?;
        }
        Ok(())
    }

    fn partitions(&mut self) -> Result<usize> {
        let catalog = self.catalog()?;
        let count = |table: &crate::plan::convert::Replaced| {
            table.built(&catalog).map_or(0, |built| built.walk().count())
        };
        Ok(self.record.tables.iter().map(count).sum())
    }

    /// The settled position: nothing at or below it can appear any more.
    pub(super) fn settled(&mut self, events: &QualifiedName) -> Result<i64> {
        let (patience, interrupt) = (self.options.limits.budget, self.interrupt);
        let progress = &mut *self.progress;
        let mut on_wait = |holders: &[crate::finding::holder::Holder]| {
            let words: Vec<_> = holders.iter().map(ToString::to_string).collect();
            progress.tell(&format!("Waiting for writers: {}", words.join("; ")));
        };
        let settled =
            settled::watch(self.locked.client(), events, patience, interrupt, &mut on_wait)?;
        // As of a lock: it is safe to try again.
        let late = |error: Error| {
            Error::new(Kind::LockTimeout, error.message().to_owned())
                .details(error.detail_lines().to_vec())
                .hint(
                    "run the command again when they have ended, it goes on from there; or give it \
                     more time with --lock-budget",
                )
        };
        settled.refusal().map(late).map_or(Ok(settled.position), Err)
    }

    /// Lets the workers do all of a list, as gently as is wanted. What was begun is ended also when
    /// somebody pauses the conversion.
    pub(super) fn do_all<T: Send>(
        &mut self,
        tasks: Vec<T>,
        work: &(dyn Fn(&mut Client, T) -> Result<()> + Sync),
    ) -> Result<()> {
        let shared = Shared { load: self.options.pace.load, ..Shared::default() };
        let mut lookout = self.lookout();
        let (locked, progress) = (&mut *self.locked, &mut *self.progress);
        let mut look = || lookout.look(locked.client(), &shared, progress);
        share_list(&mut self.workers, &shared, self.interrupt, tasks, work, &mut look)?;
        self.done_unless_stopped(&shared)
    }

    fn lookout(&self) -> Lookout {
        Lookout { pace: Pace::new(self.options.pace), watch: self.pause_watch() }
    }

    /// Work ends without an error when it is done, or when it was stopped for a pause.
    fn done_unless_stopped(&mut self, shared: &Shared) -> Result<()> {
        if shared.stop.load(Ordering::SeqCst) { Err(self.paused()) } else { Ok(()) }
    }

    fn copy_to_settled(&mut self) -> Result<()> {
        let events = self.events()?;
        let goal = self.settled(&events.current)?;
        let (id, schema) = (self.record.id, self.locked.schema().to_owned());
        let client = self.locked.client();
        let columns = session::columns(client, &events.current)?;
        let (done, copied) = record::ranges(client, &schema, id)?;
        let whole = Range { after: i64::MIN, up_to: goal };
        let (rate, sessions) = (self.options.pace.rate, self.workers.len());
        let at_once = range_rows(rate, sessions);
        let width = width(client, &events.current, goal, self.record.rows, at_once)?;
        let source = Mutex::new(Source { gaps: gaps(&done, whole).into(), width });
        let rows = u64::try_from(self.record.rows).ok();
        self.progress.phase("Copying", rows);

        let shared = Shared { load: self.options.pace.load, ..Shared::default() };
        shared.rows.store(u64::try_from(copied).unwrap_or(0), Ordering::SeqCst);
        let pace = Pace::new(self.options.pace);
        let next = |client: &mut Client| {
            let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
            source.next(client, &events.current)
        };
        let work = |client: &mut Client, range: Range| {
            let sql = render::convert::copy_range(&events, &columns, range);
            let rows = copy_noted(client, &schema, id, &sql, range)?;
            shared.rows.fetch_add(rows, Ordering::SeqCst);
            pace.wait(rows, &shared);
            Ok(())
        };
        let mut lookout = self.lookout();
        let (locked, progress, interrupt) =
            (&mut *self.locked, &mut *self.progress, self.interrupt);
        let mut look = || {
            progress.passed(shared.rows.load(Ordering::SeqCst));
            lookout.look(locked.client(), &shared, progress)
        };
        share(&mut self.workers, &shared, interrupt, &next, &work, &mut look)?;
        self.done_unless_stopped(&shared)?;
        self.record.copied_to = Some(goal);
        Ok(())
    }
}

/// Looks after pauses and limits while workers work.
struct Lookout {
    pace: Pace,
    watch: PauseWatch,
}

impl Lookout {
    fn look(
        &mut self,
        client: &mut Client,
        shared: &Shared,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        if self.watch.is_paused(client)? {
            shared.stop.store(true, Ordering::SeqCst);
        }
        let PauseWatch { schema, id, .. } = &self.watch;
        let mut commit = |client: &mut Client| probe(client, schema, *id);
        if let Some(words) = self.pace.look(client, shared, &mut commit)? {
            progress.tell(&words);
        }
        Ok(())
    }
}

impl Source {
    /// The next positions that have rows, and how many of them one transaction takes.
    fn next(&mut self, client: &mut Client, events: &QualifiedName) -> Result<Option<Range>> {
        let Some(gap) = self.gaps.pop_front() else { return Ok(None) };
        let row = client
            .query_one(
                &render_sql("convert/next_position", &values! { current => events }),
                &[&gap.after, &gap.up_to],
            )
            .map_err(|error| Error::database(&format!("reading {events}"), error))?;
        // Positions that nobody has are done with the ones that follow.
        let first = row.get::<_, Option<i64>>("position").unwrap_or(gap.up_to);
        let up_to = first.saturating_add(self.width - 1).min(gap.up_to);
        if up_to < gap.up_to {
            self.gaps.push_front(Range { after: up_to, up_to: gap.up_to });
        }
        Ok(Some(Range { after: gap.after, up_to }))
    }
}

/// How many rows one transaction copies: with a limit no more than a session may in half a second.
pub(super) fn range_rows(rate: Option<u64>, sessions: usize) -> i64 {
    let Some(rate) = rate.and_then(|rate| i64::try_from(rate).ok()) else { return RANGE_ROWS };
    let sessions = i64::try_from(sessions).unwrap_or(1).max(1);
    (rate / sessions / 2).clamp(RANGE_ROWS_MIN, RANGE_ROWS)
}

/// How many positions have about as many rows as one transaction copies.
fn width(
    client: &mut Client,
    events: &QualifiedName,
    goal: i64,
    rows: i64,
    at_once: i64,
) -> Result<i64> {
    let row = client
        .query_one(&render_sql("convert/extent", &values! { table => events }), &[&goal])
        .map_err(|error| Error::database(&format!("reading {events}"), error))?;
    let (first, last): (Option<i64>, Option<i64>) = (row.get("first"), row.get("last"));
    let span = last.unwrap_or(0).saturating_sub(first.unwrap_or(0)).saturating_add(1).max(1);
    let width = i128::from(span) * i128::from(at_once) / i128::from(rows.max(1));
    Ok(i64::try_from(width.min(i128::from(span))).unwrap_or(i64::MAX).max(1))
}

/// Copies rows and notes it, in one transaction. The commit is not waited for: when a crash takes
/// it back, it takes the note with it.
fn copy_noted(client: &mut Client, schema: &str, id: i64, sql: &str, range: Range) -> Result<u64> {
    let failed = |error| Error::database("copying events", error);
    let mut transaction = client.transaction().map_err(failed)?;
    transaction.batch_execute(include_str!("../../../sql/convert/copying.sql")).map_err(failed)?;
    let rows = transaction.execute(sql, &[]).map_err(failed)?;
    let counted = i64::try_from(rows).unwrap_or(i64::MAX);
    record::note_range(&mut transaction, schema, id, range, counted)?;
    reach("convert::before_range");
    transaction.commit().map_err(failed)?;
    reach("convert::copied");
    Ok(rows)
}

/// What a small writer does: a row, a commit that is waited for.
pub(super) fn probe(client: &mut Client, schema: &str, id: i64) -> Result<()> {
    let table = render::tables::conversions_table(schema);
    client
        .execute(&render_sql("convert/probe", &values! { table }), &[&id])
        .map_err(|error| Error::database("measuring a commit", error))?;
    Ok(())
}
