//! Tables that VACUUM has to freeze before the server runs out of transaction numbers.

use crate::catalog::health::{Age, Health};
use crate::render::health;

use super::Finding;

/// When a table is this old, the server stops at nothing to freeze it: `vacuum_failsafe_age`, where
/// it is not read.
const FAILSAFE: i64 = 1_600_000_000;

/// What the server begins to freeze by itself, where the setting is not read.
const FREEZE: i64 = 200_000_000;

/// The same of multixacts.
const FREEZE_MULTIXACTS: i64 = 400_000_000;

/// An anti-wraparound vacuum is no failure; a table that is older than its limit by half of it
/// shows that none gets through.
const LATE_PERCENT: i64 = 150;

/// Tables beyond the age at which autovacuum freezes them, and nothing froze them.
#[must_use]
pub fn check(health: &Health) -> Vec<Finding> {
    let limit = |setting: &str, standard| health.number(setting).unwrap_or(standard);
    let failsafe = limit("vacuum_failsafe_age", FAILSAFE).max(FREEZE);
    let freeze = limit("autovacuum_freeze_max_age", FREEZE);
    let multixacts = limit("autovacuum_multixact_freeze_max_age", FREEZE_MULTIXACTS);
    let mut findings = Vec::new();
    for Age { name, transactions, multixacts: members } in &health.ages {
        let (what, age, limit) =
            if transactions.saturating_mul(multixacts) >= members.saturating_mul(freeze) {
                ("transactions", *transactions, freeze)
            } else {
                ("multixacts", *members, multixacts)
            };
        if age.saturating_mul(100) < limit.saturating_mul(LATE_PERCENT) {
            continue;
        }
        let message = format!(
            "it was frozen {age} {what} ago, and autovacuum was to do it after {limit}: something \
             keeps it from that, and at 2 billion the server takes no more writes"
        );
        let finding = if age >= failsafe {
            Finding::error("wraparound", name, message)
        } else {
            Finding::warning("wraparound", name, message)
        };
        findings.push(finding.remedy(health::freeze(name)));
    }
    findings
}
