//! Branches that an interrupted run left half built, beside the tree.

use crate::catalog::Catalog;
use crate::layout::bounds::Bound;
use crate::plan::wanted::UNFINISHED_PREFIX;

use super::Finding;

/// Branches that were never attached. Nothing reaches them; the next `ensure`,
/// or `drain`, finishes them.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let finding = |unfinished: &crate::catalog::Unfinished| {
        let message = "it was being built when a run was interrupted, and is not attached";
        let drains = unfinished.mark.starts_with(&format!("{UNFINISHED_PREFIX}{}", Bound::Default));
        let command = if drains { "pupctl partitions drain" } else { "pupctl partitions ensure" };
        Finding::warning("unfinished_branch", &unfinished.branch.name, message).remedy(command)
    };
    catalog.unfinished.iter().map(finding).collect()
}
