//! Plans what makes a table of its own a partition of events: it is made like its parent, its
//! bounds are proven, and one short transaction attaches it, in which nothing is read or built.

mod admit;
mod align;
mod place;
mod survey;

pub use admit::Admission;
pub use align::{Alignment, Change};
pub use place::{guess_from_check, guess_from_name, parent, read};
pub use survey::{DefaultRows, Doubled, Sequence, Survey};

use crate::catalog::Catalog;
use crate::catalog::detached::Standalone;
use crate::catalog::relation::{Constraint, Relation};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::layout::bounds::Bound;
use crate::layout::name::QualifiedName;
use crate::layout::place::Place;

use super::lifecycle::{
    BOUNDS_CHECK, BoundsCheck, Condition, DETACHED_PREFIX, EXCLUSION_CHECK, LifecycleAction,
    prove_bounds,
};
use super::step::{Action, Plan, Step};

/// What is to be attached, and where.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The table. It must be such that the server can attach it: [`crate::finding::attachable`]
    /// tells what is in the way.
    pub table: &'a Standalone,
    /// Where its rows belong.
    pub place: &'a Place,
    /// What is known of its rows; [`Survey::default`] for those that are proven already.
    pub survey: &'a Survey,
    /// Whether rows may be attached that projections believe to have read.
    pub behind_projections: bool,
}

/// Plans the attachment. The catalog must hold definitions and details; pupctl's own tables are
/// the caller's business.
pub fn plan(layout: &Layout, catalog: &Catalog, request: &Request<'_>) -> Result<Plan> {
    let parent = parent(layout, catalog, request.place)?;
    survey::refuse(request)?;
    let Some((events, bound)) =
        catalog.events.as_ref().zip(request.place.split().map(|(_, bound)| bound))
    else {
        return Err(Error::refused("there is no table of events to attach to"));
    };
    let check = BoundsCheck::of(&events.root, request.place)
        .ok_or_else(|| Error::refused(format!("the bounds {} cannot be proven", request.place)))?;
    let planner = Planner { layout, catalog, request, parent, bound, check };
    Ok(planner.plan())
}

struct Planner<'a> {
    layout: &'a Layout,
    catalog: &'a Catalog,
    request: &'a Request<'a>,
    parent: &'a Relation,
    bound: &'a Bound,
    check: BoundsCheck,
}

impl Planner<'_> {
    fn plan(self) -> Plan {
        let mut plan = Plan::default();
        plan.steps.extend(admit::move_sequence(self.catalog, self.request));
        align::steps(
            self.layout,
            self.catalog,
            (self.parent, self.bound),
            &self.request.table.relation,
            &self.request.survey.bounds_checks,
            &mut plan,
        );
        plan.steps.extend(admit::collect_ids(self.layout, self.catalog, self.request));
        plan.steps.extend(self.prove());
        plan.steps.extend(self.exclude());
        plan.steps.push(self.attach());
        plan.notes.extend(survey::notes(self.request));
        plan
    }

    fn name(&self) -> &QualifiedName {
        &self.request.table.relation.name
    }

    /// The CHECKs of the table that repeat its bounds.
    fn bounds_checks(&self) -> impl Iterator<Item = &Constraint> {
        let constraints = self.request.table.relation.details.constraints.iter();
        constraints
            .filter(|constraint| self.request.survey.bounds_checks.contains(&constraint.name))
    }

    /// Whether a CHECK is added. The server does not recognise one of a hash over texts, as the
    /// call that it compares with has no collation: it reads the table then.
    fn needs_check(&self) -> bool {
        let is_hash = |bound: &Bound| matches!(bound, Bound::Hash { .. });
        let has_hash = self.request.place.bounds().iter().any(is_hash);
        !has_hash && !self.is_proven()
    }

    fn is_proven(&self) -> bool {
        self.bounds_checks().any(|check| check.valid)
    }

    /// What lets the server see that no row lies outside: a CHECK that is there, or a new one.
    fn prove(&self) -> Vec<Step> {
        if !self.needs_check() {
            return Vec::new();
        }
        let [mut add, validate] = prove_bounds(self.name(), self.check.clone());
        let constraints = &self.request.table.relation.details.constraints;
        match constraints.iter().find(|constraint| constraint.name == BOUNDS_CHECK) {
            // An earlier run added it, and did not come to the rest.
            Some(check) if self.bounds_checks().any(|same| same == check) => vec![validate],
            Some(other) => {
                let drop = drop_constraint(self.name(), &other.name);
                add.actions.insert(0, drop);
                vec![add, validate]
            }
            None => vec![add, validate],
        }
    }

    /// What lets the server see that the DEFAULT partition holds no row of the bounds, so that it
    /// does not read it while everybody waits.
    fn exclude(&self) -> Vec<Step> {
        let Some(default) = self.parent.default_partition() else { return Vec::new() };
        let Some(bounds) = self.check.0.last() else { return Vec::new() };
        if !self.request.survey.default_rows.any {
            return Vec::new();
        }
        let constraints = &default.details.constraints;
        let left = constraints.iter().any(|constraint| constraint.name == EXCLUSION_CHECK);
        let mut actions = Vec::new();
        if left {
            // For which bounds an interrupted run added it, only the server could tell.
            actions.push(
                LifecycleAction::DropConstraint {
                    table: default.name.clone(),
                    name: EXCLUSION_CHECK.to_owned(),
                    live: true,
                }
                .into(),
            );
        }
        actions.push(exclusion(&default.name, bounds));
        let validate = LifecycleAction::ValidateCheck {
            table: default.name.clone(),
            name: EXCLUSION_CHECK.to_owned(),
        };
        vec![
            Step::new(
                format!("Let {} refuse what goes to {}", default.name.name, self.name().name),
                "attaching would read it otherwise, while everybody waits; until then such events \
                 are refused",
                actions,
            ),
            Step::new(
                format!("Prove that {} holds no such event", default.name.name),
                "a read of the partition that locks nobody out",
                vec![validate.into()],
            ),
        ]
    }

    /// One transaction: the table is made a partition, and is rid of what was only for that.
    fn attach(&self) -> Step {
        let request = self.request;
        let mut actions: Vec<Action> = Vec::new();
        // Heads are locked before events, always.
        actions.extend(admit::raise_heads(self.layout, self.catalog, request));
        actions.push(Action::LockParent(self.parent.name.clone()));
        let default = self.parent.default_partition();
        let constraints = self.parent.details.constraints.iter();
        actions.push(
            LifecycleAction::AttachFilled {
                parent: self.parent.name.clone(),
                table: self.name().clone(),
                bound: self.bound.clone(),
                default: default.map(|default| default.name.clone()),
                foreign_keys: self.parent.foreign_keys.clone(),
                referenced: constraints.filter_map(|one| one.references.clone()).collect(),
            }
            .into(),
        );
        let mut checks: Vec<&str> = self.bounds_checks().map(|c| c.name.as_str()).collect();
        if !checks.contains(&BOUNDS_CHECK) && self.needs_check() {
            checks.push(BOUNDS_CHECK);
        }
        actions.extend(checks.into_iter().map(|name| drop_constraint(self.name(), name)));
        if let Some(default) = default.filter(|_| request.survey.default_rows.any) {
            actions.push(drop_constraint(&default.name, EXCLUSION_CHECK));
        }
        let mark = request.table.comment.as_ref();
        if mark.is_some_and(|comment| comment.starts_with(DETACHED_PREFIX)) {
            let table = self.name().clone();
            actions.push(LifecycleAction::Comment { table, comment: None }.into());
        }
        let why = if self.is_proven() || self.needs_check() {
            "in one transaction of milliseconds: nothing is read or built in it"
        } else {
            "the server reads the table meanwhile, to see that its rows are of this share: it \
             recognises no proof of a hash; readers and writers of events go on"
        };
        Step::new(format!("Attach {} as {}", self.name().name, request.place), why, actions)
    }
}

fn drop_constraint(table: &QualifiedName, name: &str) -> Action {
    let (table, name) = (table.clone(), name.to_owned());
    LifecycleAction::DropConstraint { table, name, live: false }.into()
}

fn exclusion(default: &QualifiedName, bounds: &Condition) -> Action {
    let (table, bounds) = (default.clone(), bounds.clone());
    LifecycleAction::AddExclusionCheck { table, bounds }.into()
}

#[cfg(test)]
mod tests;
