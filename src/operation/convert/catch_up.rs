//! What came while the rest was done.

use std::time::Instant;

use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::plan::convert::ranges::Range;
use crate::render;
use crate::render::environment::{render as render_sql, values};

use super::pace::{Limits, Pace};
use super::planned::Way;
use super::{Converter, copy, session};

/// A round that finds no more rows than this is the last before the swap: the rest is copied while
/// writers wait.
const TAIL_ROWS_MAX: u64 = 500;

/// How many rows one transaction catches up with, where it need not be slow: all indexes are there
/// by then.
const SLICE_ROWS: i64 = 20_000;

/// More rounds than these do not make the rest shorter: rows come as fast as they are copied.
pub(super) const ROUNDS_MAX: usize = 20;

impl Converter<'_> {
    /// Copies up to the settled position, again and again until little is left. Others get their
    /// time meanwhile, unless rows come faster than that.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        self.progress.phase("Catching up", None);
        let mut pace = Pace::new(self.options.pace);
        let mut before = u64::MAX;
        for _ in 0..ROUNDS_MAX {
            match self.round_at(Way::Forth, &mut pace) {
                Ok(rows) if rows <= TAIL_ROWS_MAX || rows >= before => break,
                Ok(rows) => before = rows,
                // check_violation: no partition takes the row.
                Err(error) if error.sqlstate() == Some("23514") => {
                    self.extend(false, error)?;
                    self.protect_all()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether more is left than may be copied while writers wait.
    pub(super) fn has_long_tail(&mut self, way: Way) -> Result<bool> {
        let events = self.events()?;
        let (from, _) = way.between(&events);
        let after = self.record.copied_to.unwrap_or(i64::MIN);
        let sql = render_sql("convert/tail", &values! { table => from, limit => TAIL_ROWS_MAX });
        let row = self
            .locked
            .client()
            .query_one(&sql, &[&after])
            .map_err(|error| Error::database(&format!("reading {from}"), error))?;
        Ok(row.get("long"))
    }

    /// Leaves little to be copied while writers wait, on whichever way. Gives back whether anything
    /// was copied.
    pub(super) fn shorten_tail(&mut self, way: Way) -> Result<bool> {
        let mut any = false;
        for _ in 0..ROUNDS_MAX {
            let rows = self.round(way)?;
            any |= rows > 0;
            if rows <= TAIL_ROWS_MAX {
                break;
            }
        }
        Ok(any)
    }

    /// Copies once what is settled and was not copied before, as fast as it can. Gives back how
    /// many rows.
    pub(super) fn round(&mut self, way: Way) -> Result<u64> {
        self.round_at(way, &mut Pace::new(Limits::default()))
    }

    fn round_at(&mut self, way: Way, pace: &mut Pace) -> Result<u64> {
        let events = self.events()?;
        let (from, _) = way.between(&events);
        self.interrupt.check()?;
        let goal = self.settled(from)?;
        let limit = copy::range_rows(pace.rate(), 1).min(SLICE_ROWS);
        let end = render_sql("convert/slice", &values! { table => from, limit });
        let columns = session::columns(self.locked.client(), from)?;
        let mut total = 0;
        loop {
            let after = self.record.copied_to.unwrap_or(i64::MIN);
            if goal <= after {
                return Ok(total);
            }
            self.check_pause()?;
            let row = self
                .locked
                .client()
                .query_opt(&end, &[&after, &goal])
                .map_err(|error| Error::database(&format!("reading {from}"), error))?;
            let up_to = row.map_or(goal, |row| row.get("position"));
            let begun = Instant::now();
            let rows = self.copy_slice(way, &columns, Range { after, up_to })?;
            total += rows;
            if up_to < goal {
                self.make_way(pace, begun, rows)?;
            }
        }
    }

    /// Lets others have their time after work that began then.
    fn make_way(&mut self, pace: &mut Pace, begun: Instant, rows: u64) -> Result<()> {
        let (id, schema) = (self.record.id, self.locked.schema().to_owned());
        let mut commit = |client: &mut _| copy::probe(client, &schema, id);
        let (mut watch, interrupt) = (self.pause_watch(), self.interrupt);
        // The next piece is not begun then, nor waited for.
        let mut is_over = |client: &mut _| {
            interrupt.check()?;
            watch.is_paused(client)
        };
        let (took, client) = (begun.elapsed(), self.locked.client());
        let mut tell = |words: &str| self.progress.tell(words);
        pace.rest(client, (took, rows), &mut is_over, &mut commit, &mut tell)
    }

    fn copy_slice(&mut self, way: Way, columns: &[String], range: Range) -> Result<u64> {
        let events = self.events()?;
        let (from, to) = way.between(&events);
        let Range { after, up_to } = range;
        let schema = self.locked.schema().to_owned();
        let sql = render::convert::copy(from, to, columns, after, Some(up_to), way == Way::Forth);
        let doing = |error| Error::database("copying events", error);
        let mut record = self.record.clone();
        let mut transaction = self.locked.client().transaction().map_err(doing)?;
        transaction
            .batch_execute(include_str!("../../../sql/convert/copying.sql"))
            .map_err(doing)?;
        let rows = transaction.execute(&sql, &[]).map_err(doing)?;
        if way == Way::Back {
            super::back::copy_heads(&mut transaction, &record, after)?;
        }
        record.copied_to = Some(up_to);
        super::record::advance(&mut transaction, &schema, &record)?;
        transaction.commit().map_err(doing)?;
        self.record = record;
        reach("convert::caught_up");
        Ok(rows)
    }
}
