//! How near the store is to filling the server's lock table.

use crate::catalog::Catalog;
use crate::layout::{Layout, Role};
use crate::plan::budget;

use super::Finding;

/// A table of which one statement takes a large part of the lock table, long before the server
/// answers "out of shared memory".
#[must_use]
pub fn check(layout: &Layout, catalog: &Catalog) -> Vec<Finding> {
    let capacity = catalog.server.lock_table();
    let mut findings = Vec::new();
    for role in Role::ALL {
        let locks = catalog.locks_of(role);
        if locks * 100 < capacity * budget::WARN_PERCENT {
            continue;
        }
        let name = layout.table(&catalog.schema_name, role);
        let message = format!(
            "one statement that opens all partitions takes {locks} of the server's {capacity} \
             locks"
        );
        findings.push(
            Finding::warning("lock_budget", &name, message)
                .remedy(budget::raise(&catalog.server, locks)),
        );
    }
    findings
}
