//! What could not be looked at.

use crate::catalog::Catalog;
use crate::catalog::health::{Health, Unseen};

use super::Finding;
use super::area::AREAS;

/// Looks that failed. Where the role lacks a right, nothing is wrong with the server: a notice. Of
/// the store nobody knows then: a right that was taken back must not make it look well for ever.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Vec<Finding> {
    let role = &catalog.server.role;
    let finding = |unseen: &Unseen| {
        let message = format!("could not look at it: {}", unseen.why);
        if unseen.forbidden {
            let message = format!("the role {role} may not look at it: {}", unseen.why);
            let finding = if is_of_store(unseen) {
                Finding::warning("not_seen", &unseen.what, message)
            } else {
                Finding::notice("not_seen", &unseen.what, message)
            };
            return finding.remedy("work as the owner of the tables (--role)");
        }
        let finding = Finding::warning("not_checked", &unseen.what, message);
        match &unseen.hint {
            Some(hint) => finding.remedy(hint.clone()),
            None => finding,
        }
    };
    health.unseen.iter().map(finding).collect()
}

/// Whether it is something of the store, not of its server.
fn is_of_store(unseen: &Unseen) -> bool {
    let of_events = AREAS.iter().any(|area| area.name == unseen.area && area.needs_events);
    unseen.area == "store" || of_events
}
