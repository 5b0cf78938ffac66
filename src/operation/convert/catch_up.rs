//! What came while the rest was done.

use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::render;
use crate::render::environment::{render as render_sql, values};

use super::Converter;
use super::planned::Way;

/// A round that finds no more rows than this is the last before the swap: the rest is copied while
/// writers wait.
const TAIL_ROWS_MAX: u64 = 500;

/// More rounds than these do not make the rest shorter: rows come as fast as they are copied.
pub(super) const ROUNDS_MAX: usize = 20;

impl Converter<'_> {
    /// Copies up to the settled position, again and again until little is left.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            match self.round(Way::Forth) {
                Ok(rows) if rows <= TAIL_ROWS_MAX => break,
                Ok(_) => {}
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

    /// Copies once what is settled and was not copied before. Gives back how many rows.
    pub(super) fn round(&mut self, way: Way) -> Result<u64> {
        let events = self.events()?;
        let (from, to) = way.between(&events);
        self.interrupt.check()?;
        let goal = self.settled(from)?;
        let after = self.record.copied_to.unwrap_or(i64::MIN);
        if goal <= after {
            return Ok(0);
        }
        let schema = self.locked.schema().to_owned();
        let columns = super::session::columns(self.locked.client(), from)?;
        let sql = render::convert::copy(from, to, &columns, after, Some(goal), way == Way::Forth);
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
        record.copied_to = Some(goal);
        super::record::advance(&mut transaction, &schema, &record)?;
        transaction.commit().map_err(doing)?;
        self.record = record;
        reach("convert::caught_up");
        Ok(rows)
    }
}
