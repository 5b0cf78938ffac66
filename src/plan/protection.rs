//! Plans the protections of events: functions, triggers on every table, the key table of ids.

use crate::catalog::relation::{Relation, RelationKind};
use crate::catalog::trigger::TableTrigger;
use crate::catalog::{Catalog, Table};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::layout::protection::Trigger;

use super::step::{Action, Protect, Step};

/// The triggers that a table of events should have and has not as they are made: missing,
/// disabled or changed.
#[must_use]
pub fn broken(layout: &Layout, schema: &str, relation: &Relation) -> Vec<Trigger> {
    // A foreign table cannot have them.
    if relation.kind == RelationKind::Other {
        return Vec::new();
    }
    let there = |trigger: &Trigger| relation.triggers.contains(&TableTrigger::of(*trigger, schema));
    layout.triggers().into_iter().filter(|trigger| !there(trigger)).collect()
}

/// The functions that are missing or changed.
#[must_use]
pub fn broken_functions(layout: &Layout, catalog: &Catalog) -> Vec<Trigger> {
    let there = |trigger: &Trigger| {
        let is_it = |function: &&crate::catalog::trigger::Function| function.trigger == *trigger;
        catalog.functions.iter().find(is_it).is_some_and(|function| function.unchanged)
    };
    layout.triggers().into_iter().filter(|trigger| !there(trigger)).collect()
}

/// Whether the parent is protected as the layout says.
pub(super) fn is_complete(layout: &Layout, catalog: &Catalog) -> bool {
    let root = |table: &Table| broken(layout, &catalog.schema_name, &table.root).is_empty();
    broken_functions(layout, catalog).is_empty()
        && (catalog.event_ids.key || !layout.keeps_event_ids())
        && catalog.events.as_ref().is_some_and(root)
}

/// Functions that run with the rights of their owner must belong to the owner of the events: who
/// owns the tables decides what else happens there.
pub(super) fn refuse_other_owner(catalog: &Catalog) -> Result<()> {
    let role = &catalog.server.role;
    match &catalog.events {
        Some(events) if events.root.owner != *role => Err(Error::refused(format!(
            "the functions that protect {} run with the rights of their owner, and must belong to \
             {}, who owns it",
            events.root.name, events.root.owner
        ))
        .hint(format!("work as the owner: --role {}", events.root.owner))),
        _ => Ok(()),
    }
}

/// New partitions get triggers, whose functions must be there.
pub(super) fn refuse_missing(layout: &Layout, catalog: &Catalog) -> Result<()> {
    let there = |trigger: &Trigger| catalog.functions.iter().any(|f| f.trigger == *trigger);
    match layout.triggers().into_iter().find(|trigger| !there(trigger)) {
        None => Ok(()),
        Some(trigger) => Err(Error::refused(format!(
            "the function {}.{} is missing, which every partition of events calls",
            catalog.schema_name,
            trigger.name()
        ))
        .hint("put it back: pupctl schema init")),
    }
}

/// The steps that bring the protections of the tables that are there to what the layout says;
/// `guarded_now` where a migration of the same plan does it for functions and parent.
pub(super) fn mend(layout: &Layout, catalog: &Catalog, guarded_now: bool) -> Vec<Step> {
    let schema = &catalog.schema_name;
    let mut incomplete = is_missing_ids(layout, catalog);
    let mut steps = Vec::new();
    // A new table gets its triggers from the migration, and its partitions from `ensure`.
    let walk = catalog.events.iter().flat_map(|events| events.root.walk());
    for relation in walk.skip(usize::from(guarded_now)) {
        let broken = broken(layout, schema, relation);
        incomplete |= broken.contains(&Trigger::EventIds);
        steps.extend(triggers(layout, relation, broken));
    }
    let functions = functions(layout, catalog, guarded_now, incomplete);
    let collects = layout.keeps_event_ids() && incomplete;
    // When every table has its trigger, what was stored before is all that is missing.
    let collection = collects.then(|| collection(layout, catalog));
    functions.into_iter().chain(steps).chain(collection).collect()
}

/// Whether ids may be missing from the key table.
fn is_missing_ids(layout: &Layout, catalog: &Catalog) -> bool {
    let broken = broken_functions(layout, catalog).contains(&Trigger::EventIds);
    broken || !catalog.event_ids.key || !catalog.event_ids.complete
}

/// What comes before the triggers: the key table and the functions; and the note that ids may be
/// missing, which stays until they are collected, whatever ends the run.
fn functions(
    layout: &Layout,
    catalog: &Catalog,
    guarded_now: bool,
    incomplete: bool,
) -> Option<Step> {
    let schema = || catalog.schema_name.clone();
    let tables = || layout.tables.clone();
    let mut actions = Vec::new();
    let keeps = layout.keeps_event_ids();
    if catalog.event_ids.complete && (incomplete || !keeps) {
        actions.push(Protect::EventIdsIncomplete { schema: schema() });
    }
    if !guarded_now {
        if keeps && !catalog.event_ids.there {
            actions.push(Protect::EventIds { schema: schema(), tables: tables() });
        } else if keeps && !catalog.event_ids.key {
            actions.push(Protect::EventIdsKey { schema: schema() });
        }
        let broken = broken_functions(layout, catalog).into_iter();
        actions.extend(broken.map(|trigger| Protect::Function {
            schema: schema(),
            tables: tables(),
            trigger,
        }));
    }
    let actions: Vec<_> = actions.into_iter().map(Action::Protect).collect();
    (!actions.is_empty()).then(|| {
        let why = "the layout names these protections, and they are missing or changed";
        Step::new("Make what protects events", why, actions)
    })
}

/// A transaction for each table, so that writers wait for one table at a time.
fn triggers(layout: &Layout, relation: &Relation, broken: Vec<Trigger>) -> Option<Step> {
    let table = &relation.name;
    let wanted = layout.triggers();
    let is_left = |trigger: &Trigger| {
        let named = |found: &TableTrigger| found.name == trigger.name();
        !wanted.contains(trigger) && relation.triggers.iter().any(named)
    };
    let drop = |trigger| Protect::Drop { table: table.clone(), trigger };
    let add = |trigger| Protect::Trigger { table: table.clone(), trigger, live: true };
    let left = Trigger::ALL.into_iter().filter(is_left).map(drop);
    let actions: Vec<_> = broken.into_iter().map(add).chain(left).map(Action::Protect).collect();
    (!actions.is_empty()).then(|| {
        Step::new(
            format!("Protect {}", table.name),
            "its triggers are not as the layout says: missing, disabled, changed or left over",
            actions,
        )
    })
}

fn collection(layout: &Layout, catalog: &Catalog) -> Step {
    let schema = catalog.schema_name.clone();
    let collect = Protect::CollectEventIds { schema, tables: layout.tables.clone() };
    Step::new(
        "Collect the ids of the events that are there",
        "an id that is stored may not come again; one that is there twice is refused",
        vec![Action::Protect(collect)],
    )
}

#[cfg(test)]
mod tests;
