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
        && (catalog.event_ids || !layout.keeps_event_ids())
        && catalog.events.as_ref().is_some_and(root)
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
    let Some(events) = &catalog.events else { return Vec::new() };
    let mut steps = Vec::new();
    if !guarded_now {
        steps.extend(functions(layout, catalog));
    }
    let (schema, root) = (&catalog.schema_name, &events.root);
    let mut keeps_ids = !guarded_now && is_missing_ids(layout, catalog);
    for relation in root.walk().skip(usize::from(guarded_now)) {
        let broken = broken(layout, schema, relation);
        keeps_ids |= broken.contains(&Trigger::EventIds);
        steps.extend(triggers(layout, relation, broken));
    }
    // When every table has its trigger, what was stored before is all that is missing.
    if keeps_ids {
        steps.push(collection(layout, catalog));
    }
    steps
}

/// Whether ids may be missing from the key table, because it was not filled for a while.
fn is_missing_ids(layout: &Layout, catalog: &Catalog) -> bool {
    let broken = broken_functions(layout, catalog).contains(&Trigger::EventIds);
    layout.keeps_event_ids() && (broken || !catalog.event_ids)
}

fn functions(layout: &Layout, catalog: &Catalog) -> Option<Step> {
    let schema = catalog.schema_name.clone();
    let tables = || layout.tables.clone();
    let mut actions = Vec::new();
    if layout.keeps_event_ids() && !catalog.event_ids {
        actions.push(Protect::EventIds { schema: schema.clone(), tables: tables() });
    }
    actions.extend(
        broken_functions(layout, catalog).into_iter().map(|trigger| Protect::Function {
            schema: schema.clone(),
            tables: tables(),
            trigger,
        }),
    );
    let actions: Vec<_> = actions.into_iter().map(Action::Protect).collect();
    (!actions.is_empty()).then(|| {
        let why = "the layout names these protections, and they are missing or changed";
        Step::new("Make the functions that protect events", why, actions)
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
