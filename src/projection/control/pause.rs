//! Nobody works on a projection until it is resumed.

use postgres::Transaction;

use crate::error::Result;
use crate::render::RenderedStep;
use crate::render::environment::{render, values};

use super::change::{Change, lock_rows, writing};
use super::checkpoint::{self, Projection, find, foreign, foreign_rows, unknown};
use super::{Tables, checkpoints_ready};

/// Which projections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// These.
    Named(Vec<String>),
    /// All of pupctl's.
    All,
}

/// Plans to pause them. When that is done, nobody works on them, and nobody begins to.
pub fn pause(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    which: &Which,
) -> Result<Option<Change>> {
    plan(transaction, tables, which, true)
}

/// Plans to let them go on.
pub fn resume(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    which: &Which,
) -> Result<Option<Change>> {
    plan(transaction, tables, which, false)
}

fn plan(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    which: &Which,
    paused: bool,
) -> Result<Option<Change>> {
    let checkpoints = &tables.checkpoints;
    checkpoints_ready(transaction, checkpoints)?;
    let rows = checkpoint::read(transaction, checkpoints, true)?;
    let all = checkpoint::projections(rows.clone());
    let wished: &[String] = if let Which::Named(names) = which { names } else { &[] };
    if let Some(name) = wished.iter().find(|name| find(&all, name).is_none()) {
        let others = foreign_rows(&rows, name);
        return Err(if others.is_empty() {
            unknown(name, &all)
        } else {
            foreign(name, &rows, "their workers know nothing of pauses")
        });
    }
    let is_meant = |projection: &&Projection| match which {
        Which::Named(names) => !projection.is_foreign() && names.contains(&projection.name),
        Which::All => !projection.is_foreign(),
    };
    let is_other = |projection: &&Projection| {
        projection.slots().any(|slot| slot.paused_at.is_some() != paused)
    };
    let changed: Vec<_> = all.iter().filter(is_meant).filter(is_other).collect();
    if changed.is_empty() {
        return Ok(None);
    }
    let rows: Vec<_> = changed.iter().flat_map(|projection| projection.rows()).collect();
    let names: Vec<_> = changed.iter().map(|projection| projection.name.clone()).collect();
    let listed = names.join(", ");
    let values = values! { checkpoints, names };
    let (title, why, sql, words) = if paused {
        let sql = render("projection/control/pause", &values);
        let why = "nobody works on it until it is resumed";
        (format!("Pause {listed}"), why, sql, "Workers leave out slots for which this is set")
    } else {
        let sql = render("projection/control/resume", &values);
        let why = "its workers go on where it was";
        (format!("Resume {listed}"), why, sql, "Workers look for slots all the time")
    };
    let statements = vec![lock_rows(checkpoints, &rows), writing(sql, words, checkpoints)];
    Ok(Some(Change {
        step: RenderedStep::transaction(title, why, false, statements),
        rows,
        names,
        notes: Vec::new(),
    }))
}
