//! Row security that only partitions have.

use crate::catalog::Catalog;
use crate::layout::Role;
use crate::render::mend;

use super::Finding;

/// Partitions with row security though their table has none: through the table all rows are seen,
/// through the partition those that its policies allow. The other way round is how pupctl makes
/// them; then the partitions have no grants either, which `grants_differ` looks after.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in Role::ALL.into_iter().filter_map(|role| catalog.table(role)) {
        let root = &table.root;
        for partition in root.walk().skip(1) {
            let name = &partition.name;
            if partition.row_security && !root.row_security {
                let message = "row security is enabled here, and not on the table";
                findings.push(
                    Finding::warning("row_security_differs", name, message)
                        .mend([mend::row_security(name, false)]),
                );
            }
            if partition.details.force_row_security && !root.details.force_row_security {
                let message = "row security is forced on its owner, and not on that of the table";
                findings.push(
                    Finding::warning("row_security_differs", name, message)
                        .mend([mend::row_security(name, true)]),
                );
            }
        }
    }
    findings
}
