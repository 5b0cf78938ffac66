//! Plans to build indexes anew.

use crate::catalog::Catalog;
use crate::catalog::index::Index;
use crate::catalog::relation::Relation;
use crate::error::{Error, Result};

use super::{Plan, build, drop_leftover, is_left_by_reindex, rebuild};

/// Which indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// The one of this name, with those of the partitions.
    Named(String),
    /// All that the server does not use.
    Invalid,
}

/// Plans to rebuild indexes leaf by leaf, and to finish those that lack some of their leaves.
pub fn reindex(catalog: &Catalog, targets: &Targets) -> Result<Plan> {
    match targets {
        Targets::Named(name) => named(catalog, name),
        Targets::Invalid => Ok(invalid(catalog)),
    }
}

fn named(catalog: &Catalog, name: &str) -> Result<Plan> {
    let found = super::named(catalog, name);
    let Some((table, index)) = found else {
        return Err(Error::refused(format!("no table of the store has an index {name}"))
            .hint("--all-invalid rebuilds what the server does not use"));
    };
    let mut plan = Plan::default();
    rebuild_below(table, index, &mut plan);
    if !table.is_leaf() && !index.valid {
        plan.steps.extend(build::complete(catalog, table, index).steps);
    }
    plan.steps.dedup();
    Ok(plan)
}

/// The indexes of the leaves that are parts of this one.
fn rebuild_below(table: &Relation, index: &Index, plan: &mut Plan) {
    if table.is_leaf() {
        let stem = format!("{}_cc", index.name);
        let is_left = |other: &&Index| is_left_by_reindex(other) && other.name.starts_with(&stem);
        let left = table.indexes.iter().filter(is_left);
        plan.steps.extend(left.map(|left| drop_leftover(table, left)));
        plan.steps.push(rebuild(table, index));
        return;
    }
    for partition in &table.partitions {
        let part = partition.indexes.iter().find(|part| part.parent == Some(index.oid));
        if let Some(part) = part {
            rebuild_below(partition, part, plan);
        }
    }
}

fn invalid(catalog: &Catalog) -> Plan {
    let mut plan = Plan::default();
    for (_, _, completion) in unfinished(catalog) {
        plan.steps.extend(completion.steps);
    }
    for (_, _, repair) in broken(catalog) {
        plan.steps.extend(repair.steps);
    }
    plan
}

/// The indexes of partitioned tables that some partition lacks, with what finishes each.
#[must_use]
pub fn unfinished(catalog: &Catalog) -> Vec<(&Relation, &Index, Plan)> {
    let mut found = Vec::new();
    for table in catalog.roots().flat_map(Relation::walk).filter(|table| !table.is_leaf()) {
        for index in table.indexes.iter().filter(|index| !index.valid && index.parent.is_none()) {
            found.push((table, index, build::complete(catalog, table, index)));
        }
    }
    found
}

/// The indexes of leaves that the server does not use, with what repairs each; without those that
/// the finishing of their table's index takes care of.
#[must_use]
pub fn broken(catalog: &Catalog) -> Vec<(&Relation, &Index, Plan)> {
    let finished = unfinished(catalog);
    let mut found = Vec::new();
    for leaf in catalog.roots().flat_map(Relation::leaves) {
        for index in leaf.indexes.iter().filter(|index| !index.valid) {
            if finished.iter().any(|(_, _, plan)| is_planned(plan, leaf, index)) {
                continue;
            }
            let step = if is_left_by_reindex(index) {
                drop_leftover(leaf, index)
            } else {
                rebuild(leaf, index)
            };
            found.push((leaf, index, Plan { steps: vec![step], ..Plan::default() }));
        }
    }
    found
}

/// Whether a step is about this index of the leaf already.
fn is_planned(plan: &Plan, leaf: &Relation, index: &Index) -> bool {
    use super::{Action, IndexAction};
    let name = leaf.name.sibling(index.name.as_str());
    plan.steps.iter().flat_map(|step| &step.actions).any(|action| match action {
        Action::Index(
            IndexAction::Drop { index, .. }
            | IndexAction::Reindex { index, .. }
            | IndexAction::Attach { index, .. },
        ) => *index == name,
        _ => false,
    })
}
