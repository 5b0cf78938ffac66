//! Branches that an interrupted run left half built, beside the tree.

use crate::catalog::{Catalog, Unfinished};
use crate::layout::bounds::Bound;
use crate::plan::convert;
use crate::plan::target::partitions;
use crate::plan::wanted::{UNFINISHED_PREFIX, unfinished_mark};

use super::{Finding, history};

/// Branches that were never attached. Nothing reaches them; the next `ensure`,
/// `drain` or `split` finishes them.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    // What a conversion builds is its own affair as long as it goes on.
    let is_told = |one: &&Unfinished| catalog.conversion.is_none() || !convert::is_mark(&one.mark);
    let told = catalog.unfinished.iter().filter(is_told);
    told.map(|unfinished| finding(catalog, unfinished)).collect()
}

fn finding(catalog: &Catalog, unfinished: &Unfinished) -> Finding {
    let message = "it was being built when a run was interrupted, and is not attached";
    let drains = unfinished.mark.starts_with(&format!("{UNFINISHED_PREFIX}{}", Bound::Default));
    let split = partitions(catalog).into_iter().find(|one| {
        let bound = one.relation.bound.as_ref();
        bound.is_some_and(|bound| unfinished_mark(&one.parent.name, bound) == unfinished.mark)
    });
    let command = match split {
        _ if drains => "pupctl partitions drain".to_owned(),
        _ if convert::is_mark(&unfinished.mark) => "pupctl convert rollback".to_owned(),
        Some(partition) => history::split(&partition.relation.name),
        None => "pupctl partitions ensure".to_owned(),
    };
    Finding::warning("unfinished_branch", &unfinished.branch.name, message).remedy(command)
}
