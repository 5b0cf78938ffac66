//! What could not be looked at.

use crate::catalog::Catalog;
use crate::catalog::health::Health;

use super::Finding;

/// Looks that failed: a notice where the role lacks a right, since nothing is wrong with the store.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Vec<Finding> {
    let role = &catalog.server.role;
    let finding = |unseen: &crate::catalog::health::Unseen| {
        let message = format!("could not look at it: {}", unseen.why);
        if unseen.forbidden {
            let message = format!("the role {role} may not look at it: {}", unseen.why);
            return Finding::notice("not_seen", &unseen.what, message)
                .remedy("work as the owner of the tables (--role)");
        }
        let finding = Finding::warning("not_checked", &unseen.what, message);
        match &unseen.hint {
            Some(hint) => finding.remedy(hint.clone()),
            None => finding,
        }
    };
    health.unseen.iter().map(finding).collect()
}
