//! Plans what takes leaves out of events: one after the other, each with a CHECK and a comment by
//! which it can be attached again.

use crate::catalog::Catalog;
use crate::catalog::detached::Detached;
use crate::catalog::relation::{Constraint, Relation};
use crate::error::{Error, Result};
use crate::layout::Role;
use crate::layout::bounds::Bound;
use crate::layout::month::Month;
use crate::layout::name::{QualifiedName, fold_context};
use crate::layout::place::Place;

use super::lifecycle::{
    BOUNDS_CHECK, BoundsCheck, DETACHED_PREFIX, LifecycleAction, detach_at_once,
    detach_concurrently, detached_mark, finalize_detach,
};
use super::step::{Action, Plan, Step};
use super::target::{Located, partitions};

/// A leaf on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure<'a> {
    /// Which.
    pub leaf: Located<'a>,
    /// Whether readers and writers go on meanwhile.
    pub concurrently: bool,
    /// What is done, in order.
    pub plan: Plan,
}

/// Takes a leaf out of its table. `comment` is what the table says now: somebody's own words stay.
pub fn depart<'a>(
    catalog: &Catalog,
    leaf: Located<'a>,
    at_once: bool,
    comment: Option<&str>,
) -> Result<Departure<'a>> {
    let name = &leaf.relation.name;
    let events = catalog.events.as_ref().ok_or_else(|| {
        Error::refused("the table of events is missing").hint("make it: pupctl schema init")
    })?;
    let mut plan = Plan::default();
    let default = leaf.parent.default_partition();
    if let Some(default) = default.filter(|_| !at_once) {
        plan.notes.push(format!(
            "beside the DEFAULT partition {} the server detaches nothing concurrently: {} is \
             detached at once",
            default.name, name.name
        ));
    }
    let concurrently = !at_once && default.is_none();
    let remark = remark(&events.root.name, &leaf, comment);
    if concurrently {
        // Before, as a run that is killed must leave no table without it.
        plan.steps.extend(remark.map(|remark| {
            Step::new(
                format!("Note on {} where it belongs", name.name),
                "by this comment it is known again when it is detached",
                vec![remark],
            )
        }));
        plan.steps.push(detach_concurrently(leaf.parent, name));
    } else {
        // One of a hash names the parent by its number, and would fail in a copy of the database.
        let is_hash = |bound: &Bound| matches!(bound, Bound::Hash { .. });
        let check = BoundsCheck::of(&events.root, &leaf.place)
            .filter(|_| !leaf.place.bounds().iter().any(is_hash));
        let mut also: Vec<Action> = Vec::new();
        let constraints = &leaf.relation.details.constraints;
        if constraints.iter().any(|constraint| constraint.name == BOUNDS_CHECK) {
            let (table, name) = (name.clone(), BOUNDS_CHECK.to_owned());
            also.push(LifecycleAction::DropConstraint { table, name, live: false }.into());
        }
        if let Some(check) = check.clone() {
            also.push(LifecycleAction::AddBoundsCheck { table: name.clone(), check }.into());
        }
        also.extend(remark);
        plan.steps.push(detach_at_once(leaf.parent, name, also));
        plan.steps.extend(check.map(|_| prove(name)));
    }
    Ok(Departure { leaf, concurrently, plan })
}

/// What a detached table still lacks: the proof of its bounds, where a run ended before it.
#[must_use]
pub fn rest(table: &Relation) -> Option<Step> {
    let is_it = |c: &&Constraint| c.name == BOUNDS_CHECK && !c.valid;
    let unproven = table.details.constraints.iter().find(is_it);
    unproven.map(|_| prove(&table.name))
}

fn prove(table: &QualifiedName) -> Step {
    let check =
        LifecycleAction::ValidateCheck { table: table.clone(), name: BOUNDS_CHECK.to_owned() };
    Step::new(
        format!("Prove that {} holds nothing else", table.name),
        "then it can be attached again without a look at its rows",
        vec![check.into()],
    )
}

fn remark(events: &QualifiedName, leaf: &Located<'_>, comment: Option<&str>) -> Option<Action> {
    let mark = detached_mark(events, &leaf.place);
    let is_free = comment.is_none_or(|text| text.starts_with(DETACHED_PREFIX) && text != mark);
    let (table, comment) = (leaf.relation.name.clone(), Some(mark));
    is_free.then(|| LifecycleAction::Comment { table, comment }.into())
}

/// The partitions of the store whose detach was begun and not finished, with their parents.
#[must_use]
pub fn pending(catalog: &Catalog) -> Vec<(&Relation, &Relation)> {
    let roots = Role::ALL.into_iter().filter_map(|role| catalog.table(role));
    let parents = roots.flat_map(|table| table.root.walk());
    parents
        .flat_map(|parent| parent.partitions.iter().map(move |partition| (parent, partition)))
        .filter(|(_, partition)| partition.detach_pending)
        .collect()
}

/// The step that finishes one of them: as long as it is pending, the server begins no other.
/// `comment` is what the partition says now.
#[must_use]
pub fn finalize(
    catalog: &Catalog,
    parent: &Relation,
    partition: &Relation,
    comment: Option<&str>,
) -> Step {
    let mut step = finalize_detach(&parent.name, &partition.name);
    let place = partitions(catalog).into_iter().find(|one| one.relation.oid == partition.oid);
    let events = catalog.events.as_ref().map(|events| &events.root.name);
    let remark = events.zip(place).and_then(|(events, leaf)| remark(events, &leaf, comment));
    step.actions.extend(remark);
    step
}

/// The detached tables that a word means: a name, a place, a month or a context.
#[must_use]
pub fn detached<'a>(catalog: &'a Catalog, word: &str) -> Vec<&'a Detached> {
    let month = word.parse::<Month>().ok();
    let is_meant = |table: &&Detached| {
        let Detached { name, place, .. } = table;
        name.name == word
            || name.to_string() == word
            || place.to_string().to_lowercase() == word.to_lowercase()
            || (month.is_some() && place.month() == month)
            || place.context().is_some_and(|context| fold_context(context) == fold_context(word))
    };
    catalog.detached.iter().filter(is_meant).collect()
}

/// Whether events that arrive now, or will, go to this place: without it they are refused.
#[must_use]
pub fn is_awaited(place: &Place, now: Month) -> bool {
    match place.history() {
        Some(before) => before > now,
        None => place.month().is_none_or(|month| month >= now),
    }
}
