//! A context that was retired comes back, and its heads.

use crate::archive::folder::Archive;
use crate::archive::select::SETTINGS;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::operation::archive::leave::state;
use crate::operation::archives::{self, Phase, Record};
use crate::plan;
use crate::render::environment::{render, values};

use super::load::{copy_in, failed};
use super::{Destination, Restored, Restorer, restored};

impl Restorer<'_> {
    /// Lets a retired context take events again, and makes its partitions.
    pub fn recall(&mut self, name: &str) -> Result<()> {
        let catalog = self.catalog()?;
        let layout = catalog.layout.as_ref().unwrap_or(self.layout);
        let months = plan::ensure::months(&catalog, layout.months_ahead, None)?;
        let planned = plan::contexts::recall(layout, &catalog, name, &months)?;
        if let Some(problem) = planned.problems.first() {
            return Err(Error::refused(format!("the context {name} cannot come back: {problem}"))
                .hint("pupctl partitions check says more"));
        }
        self.execute(&planned)?;
        reach("restore::recalled");
        Ok(())
    }

    /// Heads come back in one transaction; those that are there and higher stay.
    pub(super) fn heads(&mut self, archive: &Archive, record: Option<&Record>) -> Result<Restored> {
        if self.request.destination == Destination::Beside {
            let schema = self.locked.schema().to_owned();
            return self.rehearse(archive, &schema);
        }
        let schema = self.locked.schema().to_owned();
        let heads = self.layout.table(&schema, Role::Heads);
        let interrupt = self.interrupt;
        archive.check_files(&mut |_| interrupt.check())?;
        self.progress.phase(&format!("Loading {}", archive.name()), Some(archive.manifest.rows));
        let columns = &archive.manifest.columns;
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        let stage = QualifiedName::new("pg_temp", "pupctl_heads");
        let mut transaction = self.locked.client().transaction().map_err(failed)?;
        transaction.batch_execute(SETTINGS).map_err(failed)?;
        let make = render("archive/stage_heads", &values! { stage => stage.name, heads });
        transaction.batch_execute(&make).map_err(failed)?;
        copy_in(&mut transaction, archive, &stage, interrupt, &mut *self.progress)?;
        let merge = render("archive/merge_heads", &values! { stage, heads, names });
        transaction.batch_execute(&merge).map_err(failed)?;
        if let Some(record) = record {
            let kept = state(&mut transaction, &schema, record)?.filter(|kept| !kept.attached);
            if let (Phase::Published, Some(kept)) = (record.phase, kept) {
                let gone = render("partition/drop", &values! { table => kept.name });
                transaction.batch_execute(&gone).map_err(failed)?;
            }
            archives::advance(&mut transaction, &schema, record.id, Phase::Restored, None)?;
        }
        reach("restore::before_heads");
        transaction.commit().map_err(failed)?;
        Ok(restored(archive, &heads, "joined", Vec::new()))
    }
}
