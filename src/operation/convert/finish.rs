//! The swap itself, and the end of a conversion.

use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::plan::convert::ranges::Range;
use crate::plan::convert::{Phase, Strategy};
use crate::render::convert as statements;

use super::Converter;
use super::exchange::Stall;
use super::planned::Way;
use super::verify::Pair;

impl Converter<'_> {
    /// Puts the new tables in the place of the old ones.
    pub fn swap(&mut self) -> Result<Option<Stall>> {
        self.prepare()?;
        let attaches = self.record.strategy == Strategy::Attach;
        let mut stall = None;
        if self.record.phase < Phase::Swapped {
            if attaches {
                self.refuse_near_cutover()?;
                // Days may have passed: what somebody has dropped since is not built in the swap.
                self.prepare_heaps()?;
            } else {
                self.finish_extension()?;
                self.catch_up()?;
                self.prove_heads()?;
            }
            self.progress.phase("Exchanging the tables", None);
            stall = Some(self.exchange(Way::Forth)?);
        }
        if attaches {
            // This commit is on the disk, and the one before it.
            self.advance(Phase::Swapped)?;
            return Ok(stall);
        }
        // What came since the comparison; the old table is at rest now.
        let verified = self.record.verified_to.unwrap_or(i64::MIN);
        let events = self.events()?;
        let up_to = self.record.swapped_at_position.unwrap_or(i64::MAX);
        let rows = up_to.checked_sub(verified).unwrap_or(0);
        let pair = Pair { old: &events.retired, new: vec![events.current], rows };
        self.same(&pair, Range { after: verified, up_to })?;
        self.record.verified_to = Some(up_to);
        self.advance(Phase::Swapped)?;
        Ok(stall)
    }

    /// Drops the old tables, when it is proven once more that the new ones have all of them.
    ///
    /// `accept` goes on where events have been changed or removed since the swap, and tells it.
    pub fn finish(&mut self, accept: bool) -> Result<()> {
        self.prepare()?;
        self.progress.phase("Comparing the old table with the new one", None);
        if self.record.phase != Phase::Swapped {
            return Err(Error::refused(format!("the conversion is {}", self.record.phase)));
        }
        if self.record.strategy == Strategy::Attach {
            // The old table is a partition, and stays.
            return self.advance(Phase::Finished);
        }
        let catalog = self.catalog()?;
        let there = |name: &str| catalog.other_names.contains(name);
        let retired: Vec<_> = self
            .record
            .tables
            .iter()
            .map(|table| table.retired.clone())
            .filter(|table| there(&table.name))
            .collect();
        let events = self.events()?;
        if retired.contains(&events.retired) {
            match self.refuse_changes() {
                Err(error) if accept && error.kind() == Kind::Refused => {
                    self.progress.tell(&format!("Accepted: {}", error.message()));
                    for line in error.detail_lines() {
                        self.progress.tell(&format!("  {line}"));
                    }
                }
                outcome => outcome?,
            }
        }
        reach("convert::proven");
        // Events last: as long as they are there, an interrupted run proves them again.
        for table in retired {
            let drop = statements::swap::drop_table(&table, "The new one has all of its rows");
            self.execute(&[statements::dropping(drop, &table)])?;
        }
        let functions = statements::swap::drop_functions(&self.record.target());
        self.run("dropping functions", &functions)?;
        self.forget()?;
        self.advance(Phase::Finished)
    }
}
