//! Branches that an interrupted run left half built, beside the tree.

use crate::catalog::Catalog;

use super::Finding;

/// Branches that were never attached. Nothing reaches them; the next `ensure` finishes them.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let finding = |unfinished: &crate::catalog::Unfinished| {
        let message = "it was being built when a run was interrupted, and is not attached";
        Finding::warning("unfinished_branch", &unfinished.branch.name, message)
            .remedy("pupctl partitions ensure")
    };
    catalog.unfinished.iter().map(finding).collect()
}
