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
    let found = catalog.roots().flat_map(Relation::walk).find_map(|relation| {
        let index = relation.indexes.iter().find(|index| index.name == name)?;
        Some((relation, index))
    });
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
    for root in catalog.roots() {
        // What builds that were begun on the table lack, with what is invalid of their own.
        let begun = root.walk().filter(|table| !table.is_leaf()).flat_map(|table| {
            let tops = table.indexes.iter().filter(|index| !index.valid && index.parent.is_none());
            tops.map(move |index| (table, index))
        });
        for (table, index) in begun {
            plan.steps.extend(build::complete(catalog, table, index).steps);
        }
        for leaf in root.leaves() {
            for index in leaf.indexes.iter().filter(|index| !index.valid) {
                let step = if is_left_by_reindex(index) {
                    drop_leftover(leaf, index)
                } else {
                    rebuild(leaf, index)
                };
                if !is_planned(&plan, leaf, index) {
                    plan.steps.push(step);
                }
            }
        }
    }
    plan
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
