//! What is planned together, packed into transactions.

use std::collections::BTreeSet;

use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::plan::step::{Action, Step};

/// What must be in one transaction, and how many tables it makes.
pub(super) struct Unit {
    /// The parent, where it has to be locked.
    pub(super) parent: Option<QualifiedName>,
    pub(super) role: Role,
    pub(super) tables: usize,
    pub(super) actions: Vec<Action>,
}

/// One transaction: the parents are locked first, so that a wait happens before any work.
pub(super) fn step(units: Vec<Unit>) -> Step {
    let title = title(&units);
    let mut parents: Vec<_> = units.iter().filter_map(|unit| unit.parent.clone()).collect();
    let mut seen = BTreeSet::new();
    parents.retain(|parent| seen.insert(parent.clone()));
    let mut actions: Vec<_> = parents.into_iter().map(Action::LockParent).collect();
    actions.extend(units.into_iter().flat_map(|unit| unit.actions));
    Step::new(title, "the layout names these partitions and the database lacks them", actions)
}

fn title(units: &[Unit]) -> String {
    let actions = || units.iter().flat_map(|unit| &unit.actions);
    let mut made = actions().filter_map(|action| match action {
        Action::CreatePartition(new) => Some(&new.name.name),
        _ => None,
    });
    match (made.next(), made.next_back()) {
        (Some(first), Some(last)) => {
            format!("Make {} partitions, {first} to {last}", made.count() + 2)
        }
        (Some(only), None) => format!("Make {only}"),
        // All of its leaves were made before: what is left is to attach the branch.
        (None, _) => {
            let branch = actions().find_map(|action| match action {
                Action::Attach { partition, .. } => Some(partition.name.as_str()),
                _ => None,
            });
            format!("Attach {}", branch.unwrap_or("the branch"))
        }
    }
}
