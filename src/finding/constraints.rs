//! Constraints of partitions that their table does not have, and constraints that do not hold for
//! the rows that were there before them.

use crate::catalog::Catalog;
use crate::catalog::index::Index;
use crate::catalog::relation::{Constraint, Relation};
use crate::error::CLOSED_CHECK;
use crate::layout::Role;
use crate::layout::bounds::Bound;
use crate::render::mend;

use super::Finding;

/// The constraints that pupctl itself adds to a partition.
const OWN_PREFIX: &str = "pupctl_";

/// Constraints and unique indexes that only a partition has, and constraints that are not valid.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut dropped = Vec::new();
    for role in Role::ALL {
        let Some(table) = catalog.table(role) else { continue };
        // A pending detach has put its bound on the partition, which is hardly one of the table.
        let partitions = table.root.walk().skip(1).filter(|partition| !partition.detach_pending);
        for partition in partitions {
            for constraint in &partition.details.constraints {
                if let Some(finding) = extra(role, partition, constraint) {
                    dropped.push((partition.oid, &constraint.name));
                    findings.push(finding);
                }
            }
            let indexes = partition.indexes.iter().filter(|index| is_extra_key(role, index));
            findings.extend(indexes.map(|index| extra_key(partition, index)));
        }
    }
    for relation in catalog.roots().flat_map(Relation::walk) {
        let stays = |c: &&Constraint| !dropped.contains(&(relation.oid, &c.name));
        let constraints = relation.details.constraints.iter().filter(stays);
        findings.extend(constraints.filter(|c| is_unproven(c)).map(|c| unproven(relation, c)));
    }
    findings
}

fn extra(role: Role, partition: &Relation, constraint: &Constraint) -> Option<Finding> {
    let Constraint { name, kind, columns, definition, inherited, .. } = constraint;
    let is_needed = match kind.as_str() {
        "p" if !partition.bound.as_ref().is_some_and(Bound::is_range) => {
            is_set(columns, role.key_columns())
        }
        // A leaf by time keeps its own primary key.
        "p" | "u" => {
            is_set(columns, role.key_columns())
                || role.unique_columns().iter().any(|column| is_set(columns, &[column]))
        }
        _ => false,
    };
    // A closed month refuses late events because it was closed.
    let is_own = name.starts_with(OWN_PREFIX) || name == CLOSED_CHECK;
    if *inherited || is_needed || is_own {
        return None;
    }
    let message = format!(
        "{name} {definition}: only this partition has it, and refuses events that others take"
    );
    // A primary key on other columns stands in the way of the one that the layout needs.
    let finding = if kind == "p" {
        Finding::error("extra_constraint", &partition.name, message)
    } else {
        Finding::warning("extra_constraint", &partition.name, message)
    };
    Some(finding.mend([mend::drop_constraint(&partition.name, name)]))
}

fn is_set(columns: &[String], wanted: &[&str]) -> bool {
    columns.len() == wanted.len() && wanted.iter().all(|w| columns.iter().any(|c| c == w))
}

/// A unique index without a constraint that the layout does not ask for.
fn is_extra_key(role: Role, index: &Index) -> bool {
    let needed = |columns: &[&str]| !index.partial && is_set(&index.columns, columns);
    index.unique
        && index.valid
        && index.constraint.is_none()
        && index.parent.is_none()
        && !needed(role.key_columns())
        && !role.unique_columns().iter().any(|column| needed(&[column]))
}

fn extra_key(partition: &Relation, index: &Index) -> Finding {
    let name = partition.name.sibling(index.name.as_str());
    let message = format!(
        "unique index {}: only {} has it, and refuses events that others take",
        index.definition, partition.name
    );
    Finding::warning("extra_key", &name, message)
        .mend([mend::drop_index(&name, partition.is_leaf())])
}

/// Not valid, of this relation itself, and one that can be: since PostgreSQL 18 some are not
/// meant to be enforced.
fn is_unproven(constraint: &Constraint) -> bool {
    !constraint.valid && !constraint.inherited && !constraint.definition.ends_with("NOT ENFORCED")
}

fn unproven(relation: &Relation, constraint: &Constraint) -> Finding {
    let Constraint { name, definition, .. } = constraint;
    let message = format!("{name} {definition}: rows from before it were never checked");
    Finding::warning("invalid_constraint", &relation.name, message)
        .mend([mend::validate_constraint(&relation.name, name)])
}
