//! Publications that name partitions instead of their table.

use std::collections::BTreeMap;

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::layout::Role;
use crate::render::mend;

use super::Finding;

/// Publications in which partitions are named and their table is not: partitions that are made
/// later are not published.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in Role::ALL.into_iter().filter_map(|role| catalog.table(role)) {
        let root = &table.root;
        let mut alone: BTreeMap<&str, usize> = BTreeMap::new();
        for partition in root.walk().skip(1) {
            for publication in &partition.details.publications {
                *alone.entry(publication).or_default() += 1;
            }
        }
        alone.retain(|name, _| !root.details.publications.iter().any(|known| known == name));
        findings.extend(alone.into_iter().map(|(name, count)| unpublished(root, name, count)));
    }
    findings
}

fn unpublished(root: &Relation, publication: &str, count: usize) -> Finding {
    let all = root.walk().skip(1).filter(|partition| partition.is_leaf()).count();
    let message = format!(
        "the publication {publication} names {count} of its partitions, not the table itself: of \
         {all} leaves only these are published, and no new one"
    );
    Finding::warning("publication_differs", &root.name, message)
        .mend([mend::publish(publication, &root.name)])
}
