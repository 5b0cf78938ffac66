//! What `pupctl doctor` looks at: all that can be said of a store.

use std::collections::BTreeSet;

use crate::catalog::Catalog;
use crate::catalog::health::Health;
use crate::error::Result;
use crate::layout::Layout;

use super::{
    Finding, archives, check, clock, closed, held_back, lock_budget, operations, projections, role,
    sequence, settings, slots, statistics, store, transactions, unseen, verify, wraparound,
};

/// What prints the statements that mend a difference.
const VERIFY: &str = "pupctl schema verify --sql prints the statements";

/// Every finding, errors first, none twice. Without a layout, what can be said without one. The
/// catalog must hold definitions, details and whether DEFAULT partitions hold rows.
pub fn examine(
    layout: Option<&Layout>,
    catalog: &Catalog,
    health: &Health,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if let Some(layout) = layout {
        findings.extend(check(layout, catalog)?);
        findings.extend(closed::check(&health.unsealed));
        // Both look at keys, tables and more.
        let drift = verify(layout, catalog)?;
        let known: BTreeSet<_> =
            findings.iter().map(|known| (known.check, known.object.clone())).collect();
        let is_new = |new: &Finding| !known.contains(&(new.check, new.object.clone()));
        findings.extend(drift.into_iter().filter(is_new));
        for finding in findings.iter_mut().filter(|finding| finding.remedy.is_none()) {
            // One command prints the statements of all.
            let has_statements = !finding.mend.is_empty();
            finding.remedy = has_statements.then(|| VERIFY.to_owned());
        }
        findings.extend(lock_budget::ahead(layout, catalog, &health.keeps));
        findings.extend(held_back::check(catalog, health));
    }
    findings.extend(store::check(catalog, health));
    findings.extend(settings::check(catalog, health));
    findings.extend(clock::check(catalog, health));
    findings.extend(role::check(catalog, health));
    findings.extend(sequence::check(catalog, health));
    findings.extend(statistics::check(catalog));
    findings.extend(transactions::check(catalog, health));
    findings.extend(wraparound::check(health));
    findings.extend(slots::check(health));
    findings.extend(projections::check(catalog, health));
    findings.extend(operations::check(health));
    findings.extend(archives::check(catalog, health));
    findings.extend(unseen::check(catalog, health));
    if findings.iter().any(|finding| finding.check == "sequence") {
        // Which is why.
        findings.retain(|finding| finding.check != "unsettled");
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}

#[cfg(test)]
mod tests;
