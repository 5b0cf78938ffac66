//! Who owns the tables: one role, or else nobody can maintain the store.

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::render::mend;

use super::Finding;

/// Tables and partitions that belong to another role than `events`.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let Some(events) = &catalog.events else { return Vec::new() };
    let owner = &events.root.owner;
    catalog
        .roots()
        .flat_map(Relation::walk)
        .filter(|relation| relation.owner != *owner)
        .map(|relation| {
            let message = format!(
                "belongs to {}, and {} to {owner}: neither can maintain the store alone",
                relation.owner, events.root.name
            );
            Finding::warning("owner_differs", &relation.name, message)
                .mend([mend::owner(&relation.name, owner)])
        })
        .collect()
}
