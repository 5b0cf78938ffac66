//! Partitions that the layout names and the database lacks.

use crate::catalog::Catalog;
use crate::catalog::detached::Detached;
use crate::catalog::relation::Relation;
use crate::layout::desired::DesiredPartition;
use crate::layout::levels::Level;
use crate::layout::month::Month;
use crate::layout::place::Place;
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
        let detached = if role == Role::Events { &catalog.detached[..] } else { &[] };
        let current = catalog.server.month();
        let mut comparison = Comparison { current, detached, findings: &mut findings };
        comparison.compare(&table.root, &Place::default(), &wanted);
    }
    findings
}

struct Comparison<'a> {
    current: Month,
    detached: &'a [Detached],
    findings: &'a mut Vec<Finding>,
}

impl Comparison<'_> {
    fn compare(&mut self, existing: &Relation, place: &Place, wanted: &[DesiredPartition]) {
        for partition in wanted {
            let place = place.below(partition.bound.clone());
            let covers =
                |p: &&Relation| p.bound.as_ref().is_some_and(|b| b.covers(&partition.bound));
            match existing.partitions.iter().find(covers) {
                // A partition that only covers the wanted one is the off-grid check's business.
                // So is one that is divided otherwise.
                Some(found) if is_like(found, partition) => {
                    self.compare(found, &place, &partition.partitions);
                }
                Some(_) => {}
                None => self.findings.extend(self.absent(existing, &place, partition)),
            }
        }
    }

    /// What was detached is not there because somebody wanted it so: in the past that is no
    /// finding, and elsewhere it can come back.
    fn absent(
        &self,
        parent: &Relation,
        place: &Place,
        wanted: &DesiredPartition,
    ) -> Option<Finding> {
        let finding = absent(parent, wanted, self.current);
        let Some(table) = self.detached.iter().find(|table| table.place == *place) else {
            return Some(finding);
        };
        let is_past = wanted.bound.as_month().is_some_and(|month| month < self.current);
        let remedy = format!("pupctl partitions attach {}", table.name);
        (!is_past).then(|| finding.remedy(remedy))
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
