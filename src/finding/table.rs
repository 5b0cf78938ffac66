//! The three tables themselves: there, and as the layout needs them.

use crate::catalog::Catalog;
use crate::layout::{Layout, Role};
use crate::plan::tables::{Difference, Fix, differences};
use crate::render::{self, mend};

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
    let differing =
        differences(layout, catalog).into_iter().map(|Difference { table, what, fix }| {
            let finding = Finding::error("table_differs", &table, what);
            match fix {
                None => finding,
                Some(Fix::Default { column, expression }) => {
                    finding.remedy(mend::column_default(&table, column, Some(expression), false))
                }
                Some(Fix::NotNull { column, not_null }) => {
                    finding.remedy(mend::column_not_null(&table, column, not_null))
                }
                Some(Fix::Key { columns, primary }) => {
                    finding.remedy(render::add_key(&table, &columns, primary))
                }
            }
        });
    missing.chain(differing).collect()
}
