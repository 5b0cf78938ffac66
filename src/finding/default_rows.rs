//! Rows in DEFAULT partitions: events for which nobody made a partition.

use crate::catalog::Catalog;

use super::Finding;

/// DEFAULT partitions that hold rows. As long as they do, the partitions that these rows belong
/// to cannot be made.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let finding = |name: &crate::layout::name::QualifiedName| {
        let message = "the DEFAULT partition holds rows, so their own partitions cannot be made";
        Finding::error("default_rows", name, message).remedy("pupctl partitions drain")
    };
    catalog.default_with_rows.iter().map(finding).collect()
}
