//! Detaches that were interrupted between their two phases.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::render;

use super::Finding;

/// Partitions whose detach is pending: new statements see none of their rows, and inserts to
/// their range fail, until the detach is finished.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for role in Role::ALL {
        let Some(table) = catalog.table(role) else { continue };
        for parent in table.root.walk() {
            for partition in parent.partitions.iter().filter(|p| p.detach_pending) {
                let message =
                    "its detach was begun and not finished: rows are invisible, inserts fail";
                findings.push(
                    Finding::error("pending_detach", &partition.name, message)
                        .remedy(finish(&partition.name))
                        .mend([render::finalize_detach(&parent.name, &partition.name)]),
                );
            }
        }
    }
    findings
}

/// Refuses to work on a store with a detach that was interrupted: until it is finished, rows
/// are invisible and inserts fail, and changes to the parent would leave the partition out.
pub fn refuse_pending(catalog: &Catalog) -> Result<()> {
    for role in Role::ALL {
        let Some(table) = catalog.table(role) else { continue };
        for parent in table.root.walk() {
            let Some(pending) = parent.partitions.iter().find(|p| p.detach_pending) else {
                continue;
            };
            return Err(Error::refused(format!(
                "the detach of {} from {} is not finished: its rows are invisible and inserts \
                 to it fail",
                pending.name, parent.name
            ))
            .hint(format!("finish it: {}", finish(&pending.name))));
        }
    }
    Ok(())
}

/// The command that finishes a detach.
fn finish(partition: &QualifiedName) -> String {
    format!("pupctl partitions detach {partition}")
}
