//! Indexes that the server does not use, and indexes of a parent that a partition lacks.

use crate::catalog::{Catalog, invalid_indexes};
use crate::layout::Role;
use crate::render;

use super::Finding;

/// What makes the BRIN index on a table with partitions.
pub const BRIN: &str = "pupctl schema index add --columns created_at --method brin --with \
                        pages_per_range=32,autosummarize=on";

/// Invalid indexes everywhere, and the BRIN index on time where it is missing.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tables = Role::ALL.into_iter().filter_map(|role| catalog.table(role));
    for relation in tables.flat_map(|table| table.root.walk()) {
        for index in invalid_indexes(relation) {
            let name = relation.name.sibling(index.name.as_str());
            let message = format!("invalid index on {}: the server does not use it", relation.name);
            let finding = Finding::warning("invalid_index", &name, message);
            findings.push(if relation.is_leaf() {
                finding.remedy(render::reindex(&name))
            } else {
                finding
            });
        }
    }
    let Some(events) = &catalog.events else { return findings };
    let relations = events.root.walk().filter(|relation| relation.is_leaf());
    for relation in relations {
        let there = relation.indexes.iter().any(|index| index.is_on("brin", &["created_at"]));
        if !there {
            let message = "no BRIN index on created_at: reads by time scan it whole";
            // An index of a leaf alone would be none of the table's.
            let remedy = if events.root.is_leaf() {
                render::create_brin(&relation.name)
            } else {
                BRIN.to_owned()
            };
            findings
                .push(Finding::warning("missing_index", &relation.name, message).remedy(remedy));
        }
    }
    findings
}
