//! Calls off what was begun and not finished, where that can still be done: what has left the store
//! and is in no file comes back.

use crate::archive::folder::Draft;
use crate::catalog::Catalog;
use crate::db::execute;
use crate::error::Result;
use crate::layout::name::QualifiedName;
use crate::plan::lifecycle::{LifecycleAction, finalize_detach};
use crate::plan::target::partitions;
use crate::plan::{self, Plan, Step};
use crate::render::Script;

use super::archive::leave::{State, state};
use super::archives::{self, Phase, Record};
use super::restore::Restorer;

/// Calls off an archive; what was done, in words.
pub fn archive(restorer: &mut Restorer<'_>, catalog: &Catalog, record: &Record) -> Result<String> {
    let schema = restorer.locked.schema().to_owned();
    let found = state(restorer.locked.client(), &schema, record)?;
    // Removes what was written of its file.
    drop(Draft::begin(&record.folder, &record.name));
    drop_next(restorer, catalog, record)?;
    let Some(State { name, attached, pending }) = found else {
        archives::advance(restorer.locked.client(), &schema, record.id, Phase::Aborted, None)?;
        return Ok(format!("{} is gone: there is nothing to bring back", record.table_name));
    };
    if pending {
        let leaf =
            partitions(catalog).into_iter().find(|leaf| leaf.relation.oid == record.table_oid);
        if let Some(leaf) = leaf {
            run(restorer, finalize_detach(&leaf.parent.name, &name))?;
        }
    } else if attached {
        archives::advance(restorer.locked.client(), &schema, record.id, Phase::Aborted, None)?;
        return Ok(format!("{name} never left the store"));
    }
    restorer.undo(record, &name)?;
    let file = match record.path() {
        // It may be proven: nobody but its owner removes it.
        path if path.exists() => format!("; its archive {} is not needed any more", path.display()),
        _ => String::new(),
    };
    Ok(format!("{name} is in the store again{file}"))
}

/// Calls off the way back of an archive: the table that was loaded and not attached is dropped.
pub fn restore(restorer: &mut Restorer<'_>, record: &Record) -> Result<String> {
    let Some(table) = restorer.loaded(&record.leaf, &record.name)? else {
        return Ok(format!("of {} nothing was left half done", record.name));
    };
    let step = Step {
        destroys: true,
        ..Step::new(
            format!("Drop {}", table.name),
            format!("it was loaded from the archive {}, which stays", record.name),
            vec![LifecycleAction::DropTable(table.clone()).into()],
        )
    };
    run(restorer, step)?;
    Ok(format!("{table} is dropped; rows that joined another leaf stay there"))
}

/// The empty table that was to take a place, and did not.
fn drop_next(restorer: &mut Restorer<'_>, catalog: &Catalog, record: &Record) -> Result<()> {
    let leaf = QualifiedName::new(restorer.locked.schema(), record.leaf.as_str());
    let next = plan::archive::next(&leaf, record.id);
    if !record.replaced || !catalog.other_names.contains(&next.name) {
        return Ok(());
    }
    let step = Step::new(
        format!("Drop {}", next.name),
        "it was to take the place of a leaf that stays",
        vec![LifecycleAction::DropEmpty(next).into()],
    );
    run(restorer, step)
}

fn run(restorer: &mut Restorer<'_>, step: Step) -> Result<()> {
    let script = Script::of(&Plan { steps: vec![step], ..Plan::default() });
    execute::execute(
        restorer.locked,
        &script.steps,
        restorer.request.limits,
        restorer.interrupt,
        &mut *restorer.progress,
    )
}
