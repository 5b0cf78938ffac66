//! Triggers that a table of events has and should not: those of pupctl that the layout does not
//! name, and others that one partition has alone.

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::catalog::trigger::TableTrigger;
use crate::layout::protection::Trigger;
use crate::layout::{Layout, Role};
use crate::plan::transfer::{REFUSE, REFUSE_TRUNCATE};
use crate::plan::wanted::unfinished_mark;
use crate::render::protection::drop_trigger;

use super::Finding;

/// Triggers beyond those of the layout and of the parent.
#[must_use]
pub fn check(layout: &Layout, catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for role in Role::ALL {
        let Some(table) = catalog.table(role) else { continue };
        let wanted = if role == Role::Events { layout.triggers() } else { Vec::new() };
        compare(catalog, &table.root, None, &wanted, &mut findings);
    }
    findings
}

fn compare(
    catalog: &Catalog,
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
            (None, Some(parent)) if is_of_split(catalog, relation, parent, found) => continue,
            (None, Some(parent)) if !has(parent, found) => "which its parent does not have",
            (None, _) => continue,
        };
        let message = format!("has the trigger {}, {message}", found.name);
        let drop = format!("{};", drop_trigger(&relation.name, &found.name));
        findings.push(Finding::warning("extra_trigger", &relation.name, message).mend([drop]));
    }
    for partition in &relation.partitions {
        compare(catalog, partition, Some(relation), wanted, findings);
    }
}

/// Whether it refuses changes because a split has begun.
fn is_of_split(
    catalog: &Catalog,
    relation: &Relation,
    parent: &Relation,
    trigger: &TableTrigger,
) -> bool {
    let Some(bound) = &relation.bound else { return false };
    let mark = unfinished_mark(&parent.name, bound);
    [REFUSE, REFUSE_TRUNCATE].contains(&trigger.name.as_str())
        && catalog.unfinished.iter().any(|unfinished| unfinished.mark == mark)
}

fn has(relation: &Relation, trigger: &TableTrigger) -> bool {
    relation.triggers.iter().any(|other| other.name == trigger.name)
}
