//! Months whose time is over, and that are still in the store.

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::Catalog;
use crate::catalog::health::{Health, Keeps};
use crate::layout::name::QualifiedName;
use crate::layout::retention::Retention;
use crate::plan::target::{Located, partitions};

use super::Finding;

/// A job that takes months out runs once a week at least: what is due for longer is held back.
const GRACE: TimeDelta = TimeDelta::days(7);

/// A leaf whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The leaf.
    pub leaf: QualifiedName,
    /// How long its events were to stay.
    pub retention: Retention,
    /// Since when its time is over.
    pub expired: DateTime<Utc>,
}

/// The months whose time is over.
#[must_use]
pub fn due(catalog: &Catalog, keeps: &Keeps) -> Vec<Due> {
    let now = catalog.server.now;
    let due = |leaf: &Located<'_>| {
        let retention = keeps.of(leaf.place.context())?;
        let expired = retention.expires(leaf.place.month()?.end())?;
        let leaf = leaf.relation.name.clone();
        (expired <= now).then_some(Due { leaf, retention, expired })
    };
    let leaves = partitions(catalog);
    leaves.iter().filter(|leaf| leaf.relation.is_leaf()).filter_map(due).collect()
}

/// Months with events that `archive --expired` should have taken out, and did not. Empty ones stay.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Vec<Finding> {
    let now = catalog.server.now;
    let finding = |due: &Due| {
        let Due { leaf, retention, expired } = due;
        let message = format!(
            "it is to stay {retention}, which was over at {}: nobody took it out, or something \
             holds it back",
            expired.format("%F")
        );
        let finding = if now - *expired > GRACE {
            Finding::warning("held_back", leaf, message)
        } else {
            Finding::notice("held_back", leaf, message)
        };
        finding.remedy("pupctl archive --expired")
    };
    let due = due(catalog, &health.keeps);
    due.iter().filter(|due| health.due.contains(&due.leaf)).map(finding).collect()
}
