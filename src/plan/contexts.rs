//! Plans new contexts: the layout learns them, then their partitions are made.

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::error::{Error, Result};
use crate::layout::bounds::Bound;
use crate::layout::levels::Level;
use crate::layout::place::Place;
use crate::layout::{Context, Layout, Months, Role, describe};

use super::init::{own_tables, store_layout};
use super::step::Plan;
use super::{ensure, lifecycle, tables};

/// Plans the contexts that the store does not know yet, and whatever partitions they lack.
pub fn add(layout: &Layout, catalog: &Catalog, new: &[Context], months: &Months) -> Result<Plan> {
    tables::refuse_differences(layout, catalog)?;
    let mut wanted = layout.clone();
    for context in new {
        match layout.context(&context.name) {
            None => wanted.contexts.push(context.clone()),
            Some(known) => {
                refuse_other_levels(layout, known, context)?;
                if known.retired {
                    refuse_without_heads(catalog, known)?;
                }
            }
        }
    }
    let is_new = |known: &Context| new.iter().any(|context| context.name == known.name);
    for known in wanted.contexts.iter_mut().filter(|known| is_new(known)) {
        known.retired = false;
    }
    // Checks names, doubles, and levels of one's own on a layout that has none.
    let wanted = Layout::new(wanted.tables, wanted.levels, wanted.contexts, wanted.months_ahead)?
        .protected(layout.protections);
    refuse_months_below_a_key(&wanted, catalog)?;

    let mut plan = Plan::default();
    plan.steps.extend(own_tables(&wanted, catalog)?);
    if wanted != *layout {
        plan.steps.push(store_layout(&wanted, catalog));
    }
    let partitions = ensure::plan(&wanted, catalog, months)?;
    plan.steps.extend(partitions.steps);
    plan.problems = partitions.problems;
    plan.notes = partitions.notes;
    if !wanted.has_context_level() && !new.is_empty() {
        plan.notes.push(format!(
            "the layout {} has no context level: contexts are kept for later, and no partition \
             is needed for them",
            wanted.partition_by()
        ));
    }
    Ok(plan)
}

/// Plans the end of a context whose leaves have left the store: nothing takes its events any more.
#[must_use]
pub fn retire(layout: &Layout, catalog: &Catalog, name: &str) -> Plan {
    let mut plan = Plan::default();
    let mut wanted = layout.clone();
    for context in wanted.contexts.iter_mut().filter(|context| context.name == name) {
        context.retired = true;
    }
    if wanted != *layout {
        plan.steps.push(store_layout(&wanted, catalog));
    }
    let bound = Bound::context(name);
    let branch = catalog.events.as_ref().and_then(|events| {
        let is_it = |branch: &&Relation| branch.bound.as_ref() == Some(&bound);
        let branch = events.root.partitions.iter().find(is_it)?;
        (!branch.is_leaf()).then_some((&events.root, branch))
    });
    if let Some((root, branch)) = branch {
        plan.steps.push(lifecycle::drop_branch(&root.name, &branch.name));
    }
    plan
}

/// Plans what a retired context needs to take its events back.
pub fn recall(layout: &Layout, catalog: &Catalog, name: &str, months: &Months) -> Result<Plan> {
    let mut wanted = layout.clone();
    for context in wanted.contexts.iter_mut().filter(|context| context.name == name) {
        context.retired = false;
    }
    let mut plan = Plan::default();
    plan.steps.push(store_layout(&wanted, catalog));
    let partitions = ensure::plan(&wanted, catalog, months)?;
    plan.steps.extend(partitions.steps);
    plan.problems = partitions.problems;
    Ok(plan)
}

/// Without its heads the aggregates of a context would begin again at version 1.
fn refuse_without_heads(catalog: &Catalog, context: &Context) -> Result<()> {
    let is_its = |place: &Place| place.context() == Some(&context.name);
    if !catalog.archived_heads.iter().any(is_its) {
        return Ok(());
    }
    let name = &context.name;
    Err(Error::refused(format!(
        "the context {name} is retired, and its heads are in an archive: its aggregates would \
         begin again at version 1"
    ))
    .hint(format!("bring it back: pupctl restore {name}")))
}

fn refuse_other_levels(layout: &Layout, known: &Context, asked: &Context) -> Result<()> {
    let have = layout.levels_below(Role::Events, known);
    let want = layout.levels_below(Role::Events, asked);
    if asked.levels.is_none() || have == want {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the context {} is there already, and divided otherwise",
        known.name
    ))
    .detail(format!(
        "the store has {}, the request says {}",
        describe(&have),
        describe(&want)
    )))
}

/// A month branch below a root with the aggregate key cannot be attached: PostgreSQL wants
/// `created_at` in that key, and with it two events could share a version.
pub(super) fn refuse_months_below_a_key(wanted: &Layout, catalog: &Catalog) -> Result<()> {
    let Some(events) = &catalog.events else { return Ok(()) };
    if events.root.key_without_time().is_none() {
        return Ok(());
    }
    let has_months =
        |context: &&Context| wanted.levels_below(Role::Events, context).contains(&Level::Month);
    let what = match wanted.contexts.iter().find(has_months) {
        Some(context) if wanted.has_context_level() => format!("the context {}", context.name),
        _ if wanted.levels.contains(&Level::Month) => events.root.name.to_string(),
        _ => return Ok(()),
    };
    Err(Error::refused(format!(
        "{what} cannot be divided by month here: {} carries the key of every event, and a \
         parent's key would have to contain created_at",
        events.root.name
    ))
    .hint("divide it by hash, or make the store with a month level from the start"))
}
