//! Long operations that did not come to their end.

use crate::catalog::health::{Health, Operation};

use super::Finding;

/// Runs that were interrupted or failed, and that the same command goes on with.
#[must_use]
pub fn check(health: &Health) -> Vec<Finding> {
    health.operations.iter().map(finding).collect()
}

fn finding(operation: &Operation) -> Finding {
    let Operation { id, command, subject, started_at, outcome } = operation;
    let about = subject.as_ref().map_or_else(String::new, |subject| format!(" ({subject})"));
    let message = format!(
        "pupctl {command}{about} began at {} and {}",
        started_at.format("%F %T UTC"),
        if outcome == "failed" { "failed" } else { "was interrupted" }
    );
    Finding::warning("unfinished_operation", &format!("operation {id}"), message)
        .remedy(format!("pupctl operations resume {id}"))
}
