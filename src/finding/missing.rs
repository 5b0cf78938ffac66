//! Partitions that the layout names and the database lacks.

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::layout::desired::DesiredPartition;
use crate::layout::levels::Level;
use crate::layout::month::Month;
use crate::layout::{Layout, Months, Role};
use crate::plan::wanted;

use super::Finding;

/// Missing contexts, hash shares and months. A month that is over is a gap, one that is to come
/// a warning; the current month, a context or a hash share is an error, since inserts fail.
#[must_use]
pub fn check(layout: &Layout, catalog: &Catalog, months: &Months) -> Vec<Finding> {
    let mut findings = Vec::new();
    for role in Role::ALL {
        let Some(table) = catalog.table(role) else { continue };
        let wanted = wanted::partitions(layout, catalog, role, months);
        let mut comparison =
            Comparison { current: catalog.server.month(), findings: &mut findings };
        comparison.compare(&table.root, &wanted);
    }
    findings
}

struct Comparison<'a> {
    current: Month,
    findings: &'a mut Vec<Finding>,
}

impl Comparison<'_> {
    fn compare(&mut self, existing: &Relation, wanted: &[DesiredPartition]) {
        for partition in wanted {
            let covers =
                |p: &&Relation| p.bound.as_ref().is_some_and(|b| b.covers(&partition.bound));
            match existing.partitions.iter().find(covers) {
                // A partition that only covers the wanted one is the off-grid check's business.
                // So is one that is divided otherwise.
                Some(found) if is_like(found, partition) => {
                    self.compare(found, &partition.partitions);
                }
                Some(_) => {}
                None => self.findings.push(absent(existing, partition, self.current)),
            }
        }
    }
}

fn is_like(found: &Relation, wanted: &DesiredPartition) -> bool {
    found.bound.as_ref() == Some(&wanted.bound)
        && found.partition_key == wanted.level.as_ref().map(Level::partition_key)
}

fn absent(parent: &Relation, wanted: &DesiredPartition, current: Month) -> Finding {
    let name = &parent.name;
    let mut remedy = "pupctl partitions ensure".to_owned();
    let finding = match wanted.bound.as_month() {
        Some(month) if month < current => {
            let message = format!("no partition for {month}: late events of that month fail");
            remedy = format!("pupctl partitions ensure --from {month}");
            Finding::warning("gap", name, message)
        }
        Some(month) if month == current => {
            let message = format!("no partition for the current month, {month}: inserts fail");
            Finding::error("missing_month", name, message)
        }
        Some(month) => {
            let message = format!("no partition for {month}, which the layout keeps ready");
            Finding::warning("missing_month", name, message)
        }
        None => {
            let message = format!("no partition for {}: inserts fail", wanted.bound);
            Finding::error("missing_partition", name, message)
        }
    };
    finding.remedy(remedy)
}
