//! Months whose time is over, and that are still in the store.

use chrono::TimeDelta;

use crate::catalog::Catalog;
use crate::catalog::health::Health;
use crate::plan::target::partitions;

use super::Finding;

/// A job that takes months out runs once a week at least: what is due for longer is held back.
const DUE: TimeDelta = TimeDelta::days(7);

/// Months that `archive --expired` should have taken out, and did not.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Vec<Finding> {
    let now = catalog.server.now;
    let mut findings = Vec::new();
    for leaf in partitions(catalog).iter().filter(|leaf| leaf.relation.is_leaf()) {
        let Some(month) = leaf.place.month() else { continue };
        let Some(retention) = health.keeps.of(leaf.place.context()) else { continue };
        let Some(expired) = retention.expires(month.end()) else { continue };
        if expired > now {
            continue;
        }
        let message = format!(
            "it is to stay {retention}, which was over at {}: nobody took it out, or something \
             holds it back",
            expired.format("%F")
        );
        let finding = if now - expired > DUE {
            Finding::warning("held_back", &leaf.relation.name, message)
        } else {
            Finding::notice("held_back", &leaf.relation.name, message)
        };
        findings.push(finding.remedy("pupctl archive --expired"));
    }
    findings
}
