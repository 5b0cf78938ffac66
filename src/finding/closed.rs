//! Months that were closed and are not any more.

use super::Finding;

/// Partitions whose closing is recorded, and whose CHECK somebody dropped by hand: they take events
/// that come late again, and what was recorded may not be true.
#[must_use]
pub fn check(unsealed: &[String]) -> Vec<Finding> {
    let finding = |name: &String| {
        let message = "it was closed, and somebody has dropped the CHECK that keeps events out";
        Finding::warning("closed_without_check", name, message)
            .remedy(format!("pupctl partitions close {name}"))
    };
    unsealed.iter().map(finding).collect()
}
