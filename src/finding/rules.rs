//! Rules: they rewrite the statements on a table, so that events are lost without an error.

use crate::catalog::Catalog;
use crate::layout::Role;
use crate::render::mend;

use super::Finding;

/// Rules on the partitions, and those on the tables that put something else in a statement's place.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let tables = Role::ALL.into_iter().filter_map(|role| catalog.table(role));
    let relations = tables.flat_map(|table| table.root.walk());
    relations
        .flat_map(|relation| relation.details.rules.iter().map(move |rule| (relation, rule)))
        .map(|(relation, rule)| {
            let message =
                format!("has the rule {rule}: statements on it may do something else, or nothing");
            let finding = Finding::error("extra_rule", &relation.name, message);
            finding.mend([mend::drop_rule(&relation.name, rule)])
        })
        .collect()
}
