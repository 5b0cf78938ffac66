//! The strategy that copies nothing; see [`crate::plan::convert::attach`].

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::db::inspect;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::name::QualifiedName;
use crate::plan::convert::attach::{self, Heap, HeapIndex, IndexState};
use crate::plan::convert::survey::Survey;
use crate::plan::convert::{Phase, Strategy};
use crate::plan::lifecycle::BOUNDS_CHECK;
use crate::render::bounds_check::is_bounds;
use crate::render::convert::attach as statements;

use super::planned::heaps;
use super::{Converter, survey};

impl Converter<'_> {
    /// Goes on until only the swap is left.
    pub(super) fn attach_to_ready(&mut self) -> Result<()> {
        self.watch_cutover()?;
        if self.record.phase == Phase::Building {
            self.progress.phase("Building the new tables", None);
            self.make(&Survey::default(), false)?;
            self.protect_all()?;
            reach("convert::built");
            self.advance(Phase::Indexing)?;
        }
        if self.record.phase == Phase::Indexing {
            self.prepare_heaps()?;
            self.advance(Phase::Verifying)?;
        }
        if self.record.phase == Phase::Verifying {
            let deviating = self.deviating()?;
            let report = json!({ "verified_at": Utc::now(), "deviating_heads": deviating });
            self.record.report = Some(report);
            self.advance(Phase::Ready)?;
        }
        Ok(())
    }

    /// Whether the time from which the old table refuses events is near.
    fn cutover_is_near(&mut self) -> Result<Option<DateTime<Utc>>> {
        let now = inspect::server(self.locked.client())?.now;
        Ok(self.record.near_cutover(now))
    }

    /// Chooses another cutover when the old one is near: nothing is lost but what was built empty.
    fn watch_cutover(&mut self) -> Result<()> {
        let Some(near) = self.cutover_is_near()? else { return Ok(()) };
        self.progress.tell(&format!(
            "The cutover at {} is near: choosing a later one",
            near.format("%F %H:%M UTC")
        ));
        self.loosen()?;
        let catalog = self.catalog()?;
        self.drop_built(&catalog)?;
        let events = self.events()?;
        let survey = survey(self.locked.client(), &events.current, i64::MIN)?;
        let now = inspect::server(self.locked.client())?.now;
        self.record.cutover = Some(attach::cutover(now, &survey).start());
        self.advance(Phase::Building)
    }

    /// Refuses a swap that would come when the old table refuses events already.
    pub(super) fn refuse_near_cutover(&mut self) -> Result<()> {
        let Some(near) = self.cutover_is_near()? else { return Ok(()) };
        Err(Error::refused(format!(
            "the cutover at {} is near, or over: from then on the old table takes no events",
            near.format("%F %H:%M UTC")
        ))
        .hint("choose a later one: pupctl convert resume"))
    }

    /// The old tables take every row again.
    pub(super) fn loosen(&mut self) -> Result<()> {
        for table in self.record.tables.clone() {
            self.execute(&[statements::drop_check(&table.current)])?;
        }
        Ok(())
    }

    /// Keys, indexes and the CHECK, while everybody goes on.
    pub(super) fn prepare_heaps(&mut self) -> Result<()> {
        self.progress.phase("Preparing the old table", None);
        let catalog = self.catalog()?;
        for heap in heaps(&catalog, &self.record)? {
            let table = &heap.table.current;
            let is_broken = |index: &&HeapIndex| index.state == IndexState::Broken;
            for index in heap.builds.iter().filter(is_broken) {
                let name = table.sibling(index.name.as_str());
                self.execute(&[statements::drop_index(&name, table)])?;
            }
            let constraints = catalog.table(heap.table.role).into_iter();
            let mut constraints = constraints.flat_map(|old| &old.root.details.constraints);
            let checked = constraints.any(|own| {
                own.name == BOUNDS_CHECK && own.valid && is_bounds(&own.definition, &heap.check)
            });
            for step in statements::prepare(&heap, checked) {
                self.check_pause()?;
                self.execute(&[step]).map_err(|error| outside(&heap, error))?;
                reach("convert::prepared");
            }
        }
        Ok(())
    }

    /// Takes away what was built on the old tables.
    pub(super) fn forget_heaps(&mut self) -> Result<()> {
        if self.record.strategy != Strategy::Attach {
            return Ok(());
        }
        self.loosen()?;
        let catalog = self.catalog()?;
        for heap in heaps(&catalog, &self.record)? {
            let Some(old) = catalog.table(heap.table.role) else { continue };
            let built: Vec<QualifiedName> = heap.built(&old.root).collect();
            for index in built {
                self.execute(&[statements::drop_index(&index, &heap.table.current)])?;
            }
        }
        Ok(())
    }
}

/// Rows that the old table has and must not have.
fn outside(heap: &Heap, error: Error) -> Error {
    match error.sqlstate() {
        // check_violation
        Some("23514") => Error::refused(format!(
            "{} has rows that lie outside of {}",
            heap.table.current, heap.bound
        ))
        .hint("they came since it was begun: begin anew, pupctl convert rollback, then start")
        .because(error),
        // unique_violation
        Some("23505") => error.hint("remove one of the two, then go on: pupctl convert resume"),
        _ => error,
    }
}
