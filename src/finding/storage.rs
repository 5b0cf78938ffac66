//! How leaves are stored: parameters that differ from those of most, and tables without a log.

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::layout::Role;
use crate::render::mend;

use super::Finding;

/// Leaves with other storage parameters than most leaves of their table (a partitioned table has
/// none itself to compare with), and leaves that a crash would empty.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in Role::ALL.into_iter().filter_map(|role| catalog.table(role)) {
        let usual = table.root.usual_options();
        let leaves = table.root.leaves();
        findings.extend(leaves.filter(|leaf| leaf.details.options != usual).map(|leaf| {
            let words = |options: &[String]| {
                if options.is_empty() { "none".to_owned() } else { options.join(", ") }
            };
            let message = format!(
                "its storage parameters are {}, those of most leaves {}",
                words(&leaf.details.options),
                words(&usual)
            );
            Finding::warning("storage_differs", &leaf.name, message).mend(mend::parameters(
                &leaf.name,
                false,
                &leaf.details.options,
                &usual,
            ))
        }));
    }
    let leaves = catalog.roots().flat_map(Relation::leaves);
    findings.extend(leaves.filter(|leaf| leaf.details.unlogged).map(|leaf| {
        let message = "it is unlogged: a crash of the server empties it";
        Finding::error("unlogged", &leaf.name, message).mend([mend::logged(&leaf.name)])
    }));
    findings
}
