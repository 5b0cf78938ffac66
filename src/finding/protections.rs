//! What protects the events beyond their keys: there, enabled and unchanged, on every table.

use crate::catalog::relation::Relation;
use crate::catalog::{Catalog, Table};
use crate::layout::protection::Trigger;
use crate::layout::{Guard, Layout};
use crate::plan::protection::{broken, broken_functions};
use crate::render::protection::{
    collect_event_ids, create_event_ids, create_function, create_trigger, event_ids_table, function,
};

use super::Finding;

/// The command that puts every protection in place.
const INIT: &str = "pupctl schema init";

/// Functions, triggers and the key table, where they are not as the layout says.
#[must_use]
pub fn check(layout: &Layout, catalog: &Catalog) -> Vec<Finding> {
    let Some(events) = &catalog.events else { return Vec::new() };
    let schema = &catalog.schema_name;
    let mut findings = Vec::new();
    findings.extend(no_guard(layout, events));
    for trigger in broken_functions(layout, catalog) {
        let there = catalog.functions.iter().any(|function| function.trigger == trigger);
        let state = if there { "is not as pupctl makes it" } else { "is missing" };
        let message = format!("the function {state}: {}", at_stake(trigger));
        findings.push(
            Finding::error("broken_function", &function(schema, trigger), message)
                .remedy(INIT)
                .mend([create_function(schema, &layout.tables, trigger)]),
        );
    }
    if layout.keeps_event_ids() && !catalog.event_ids {
        let message = format!("the key table is missing: {}", at_stake(Trigger::EventIds));
        let make = create_event_ids(schema, &layout.tables);
        let collect = collect_event_ids(schema, &layout.tables);
        findings.push(
            Finding::error("missing_event_ids", &event_ids_table(schema), message)
                .remedy(INIT)
                .mend([make, collect]),
        );
    }
    for relation in events.root.walk() {
        for trigger in broken(layout, schema, relation) {
            findings.push(unprotected(relation, trigger));
        }
    }
    findings
}

/// A store from before there was a guard.
fn no_guard(layout: &Layout, events: &Table) -> Option<Finding> {
    let open = layout.has_month_level()
        && layout.protections.guard == Guard::None
        && !layout.chose_protections();
    let message = "no guard: two writers can store the same version of an aggregate, one in each \
                   of two months";
    open.then(|| Finding::error("no_guard", &events.root.name, message).remedy(INIT))
}

fn unprotected(relation: &Relation, trigger: Trigger) -> Finding {
    let name = trigger.name();
    let state = match relation.triggers.iter().find(|found| found.name == name) {
        None => "missing",
        Some(found) if !found.enabled => "disabled",
        Some(_) => "not as pupctl makes it",
    };
    let message = format!("the trigger {name} is {state}: {}", at_stake(trigger));
    let create = format!("{};", create_trigger(&relation.name, trigger));
    Finding::error("unprotected", &relation.name, message).remedy(INIT).mend([create])
}

fn at_stake(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Guard => "the same version may be stored in two months",
        Trigger::EventIds => "the same event id may be stored in two partitions",
        Trigger::Immutable => "stored events may be changed",
    }
}
