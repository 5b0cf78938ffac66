//! How updates and deletes of partitions are published.

use crate::catalog::Catalog;
use crate::catalog::relation::{Relation, ReplicaIdentity};
use crate::layout::Role;
use crate::render::mend;

use super::Finding;

/// Partitions with another replica identity than their table: where the table is published, an
/// update of theirs fails or stops the subscriber.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let tables = Role::ALL.into_iter().filter_map(|role| catalog.table(role));
    // An index of the table has no counterpart with a name that is known.
    let tables = tables.filter(|table| table.root.replica_identity != ReplicaIdentity::Index);
    tables.flat_map(|table| below(&table.root)).collect()
}

fn below(root: &Relation) -> Vec<Finding> {
    let wanted = root.replica_identity;
    let differing = root.walk().skip(1).filter(|p| p.replica_identity != wanted);
    differing
        .map(|partition| {
            let message = format!(
                "its replica identity is {}, that of the table {}",
                word(partition.replica_identity),
                word(wanted)
            );
            let finding = if root.details.publications.is_empty() {
                Finding::warning("replica_identity_differs", &partition.name, message)
            } else {
                Finding::error("replica_identity_differs", &partition.name, message)
            };
            finding.mend([mend::replica_identity(&partition.name, wanted)])
        })
        .collect()
}

fn word(identity: ReplicaIdentity) -> &'static str {
    match identity {
        ReplicaIdentity::Default => "the primary key",
        ReplicaIdentity::Index => "an index",
        ReplicaIdentity::Full => "the whole row",
        ReplicaIdentity::Nothing => "nothing",
    }
}
