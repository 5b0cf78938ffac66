//! What the layout wants of a table whose branches have the months that they have.

use std::collections::BTreeSet;

use crate::catalog::relation::Relation;
use crate::catalog::{Catalog, Unfinished};
use crate::layout::bounds::Bound;
use crate::layout::desired::{self, DesiredPartition};
use crate::layout::month::Month;
use crate::layout::name::QualifiedName;
use crate::layout::{Layout, Months, Role};

/// How the comment on a branch that is being built begins.
pub const UNFINISHED_PREFIX: &str = "pupctl: unfinished partition ";

/// The comment that a branch carries while it is being built.
#[must_use]
pub fn unfinished_mark(parent: &QualifiedName, bound: &Bound) -> String {
    format!("{UNFINISHED_PREFIX}{bound} of {}", parent.name)
}

/// The branch that an earlier run began to build.
pub(super) fn unfinished<'a>(
    catalog: &'a Catalog,
    parent: &QualifiedName,
    bound: &Bound,
) -> Option<&'a Unfinished> {
    let mark = unfinished_mark(parent, bound);
    catalog.unfinished.iter().find(|branch| branch.mark == mark)
}

/// The partitions that a table should have.
#[must_use]
pub fn partitions(
    layout: &Layout,
    catalog: &Catalog,
    role: Role,
    months: &Months,
) -> Vec<DesiredPartition> {
    desired::partitions(layout, role, &|path| {
        let there = branch(catalog, role, path).map(Relation::months).unwrap_or_default();
        // A context level is always the first.
        months.of_branch(path.first().and_then(Bound::as_context), &there, &gone(catalog, path))
    })
}

/// The past months that were archived, or detached, below these bounds.
fn gone(catalog: &Catalog, path: &[Bound]) -> BTreeSet<Month> {
    let detached = catalog.detached.iter().map(|table| &table.place);
    let gone = catalog.archived.iter().chain(detached).filter_map(|place| {
        let below = place.bounds().strip_prefix(path)?;
        below.first()?.as_month()
    });
    gone.filter(|month| *month < catalog.server.month()).collect()
}

/// The branch to which these bounds lead, attached or begun.
fn branch<'a>(catalog: &'a Catalog, role: Role, path: &[Bound]) -> Option<&'a Relation> {
    path.iter().try_fold(&catalog.table(role)?.root, |parent, bound| {
        let attached = parent.partitions.iter().find(|p| p.bound.as_ref() == Some(bound));
        attached.or_else(|| Some(&unfinished(catalog, &parent.name, bound)?.branch))
    })
}
