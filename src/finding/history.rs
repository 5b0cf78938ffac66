//! Partitions that hold all months before one, as a table does that was attached as it was.

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::layout::name::QualifiedName;

use super::Finding;

/// Partitions of events that are not divided into months yet. Nothing is wrong with them.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let Some(events) = &catalog.events else { return Vec::new() };
    events.root.walk().filter_map(undivided).collect()
}

fn undivided(partition: &Relation) -> Option<Finding> {
    let before = partition.bound.as_ref()?.as_history()?;
    let rows = partition.leaves().try_fold(0, |sum, leaf| Some(sum + leaf.rows?));
    let rows = rows.map_or("not counted yet".to_owned(), |rows| format!("about {rows} rows"));
    let message = format!(
        "it holds all months before {before} ({rows}): they can be closed and archived when it \
         is divided"
    );
    Some(Finding::notice("history", &partition.name, message).remedy(split(&partition.name)))
}

/// The command that divides a partition into months.
pub(super) fn split(partition: &QualifiedName) -> String {
    format!("pupctl partitions split {}", partition.name)
}
