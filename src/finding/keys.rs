//! The keys of the leaves, without which two events could share a version, an id or a position.

use crate::catalog::{Catalog, missing_keys};
use crate::layout::{Layout, Role};
use crate::render;

use super::Finding;

/// Leaves that lack a key.
#[must_use]
pub fn check(layout: &Layout, catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for role in Role::ALL {
        let Some(table) = catalog.table(role) else { continue };
        // The root of an unpartitioned table is compared with its columns, by `table`.
        if layout.levels_of(role).is_empty() {
            continue;
        }
        for leaf in table.root.leaves() {
            for columns in missing_keys(leaf, role) {
                let primary = columns == role.key_columns()
                    && leaf.other_primary_key(role.key_columns()).is_none_or(|other| {
                        // One that serves stays; any other goes first.
                        !role.unique_columns().iter().any(|column| other.is_key_on(&[column]))
                    });
                let message = format!("no valid key on ({})", columns.join(", "));
                findings.push(
                    Finding::error("missing_key", &leaf.name, message)
                        .remedy(render::add_key(&leaf.name, &columns, primary)),
                );
            }
        }
    }
    findings
}
