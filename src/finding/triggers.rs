//! Triggers that a table of events has and should not: those of pupctl that the layout does not
//! name, and others that one partition has alone.

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::catalog::trigger::TableTrigger;
use crate::layout::protection::Trigger;
use crate::layout::{Layout, Role};
use crate::render::protection::drop_trigger;

use super::Finding;

/// Triggers beyond those of the layout and of the parent.
#[must_use]
pub fn check(layout: &Layout, catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for role in Role::ALL {
        let Some(table) = catalog.table(role) else { continue };
        let wanted = if role == Role::Events { layout.triggers() } else { Vec::new() };
        compare(&table.root, None, &wanted, &mut findings);
    }
    findings
}

fn compare(
    relation: &Relation,
    parent: Option<&Relation>,
    wanted: &[Trigger],
    findings: &mut Vec<Finding>,
) {
    for found in &relation.triggers {
        let own = Trigger::ALL.into_iter().find(|trigger| trigger.name() == found.name);
        let message = match (own, parent) {
            (Some(trigger), _) if wanted.contains(&trigger) => continue,
            (Some(_), _) => "which the layout does not name",
            (None, Some(parent)) if !has(parent, found) => "which its parent does not have",
            (None, _) => continue,
        };
        let message = format!("has the trigger {}, {message}", found.name);
        let drop = format!("{};", drop_trigger(&relation.name, &found.name));
        findings.push(Finding::warning("extra_trigger", &relation.name, message).mend([drop]));
    }
    for partition in &relation.partitions {
        compare(partition, Some(relation), wanted, findings);
    }
}

fn has(relation: &Relation, trigger: &TableTrigger) -> bool {
    relation.triggers.iter().any(|other| other.name == trigger.name)
}
