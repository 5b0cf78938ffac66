//! The three tables themselves: there, and as the layout needs them.

use crate::catalog::Catalog;
use crate::layout::{Layout, Role};
use crate::plan::tables::differences;

use super::Finding;

/// Tables that are missing, or differ from what the layout needs.
#[must_use]
pub fn check(layout: &Layout, catalog: &Catalog) -> Vec<Finding> {
    let schema = &catalog.schema_name;
    let tables = [
        (layout.table(schema, Role::Heads), catalog.heads.is_some()),
        (layout.table(schema, Role::Events), catalog.events.is_some()),
        (layout.checkpoints(schema), catalog.checkpoints.is_some()),
    ];
    let missing = tables.into_iter().filter(|(_, there)| !there).map(|(name, _)| {
        Finding::error("missing_table", &name, format!("the table {name} is missing"))
            .remedy("pupctl schema init")
    });
    let differing = differences(layout, catalog)
        .into_iter()
        .map(|difference| Finding::error("table_differs", &difference.table, difference.what));
    missing.chain(differing).collect()
}
