//! The partitions that hold rows, with the shares of hashes on the way to each. Pure.

use serde::Serialize;

use crate::catalog::relation::Relation;
use crate::layout::bounds::Bound;
use crate::layout::levels::AGGREGATE_COLUMNS;
use crate::layout::name::QualifiedName;

/// A partition that holds rows.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// Its OID.
    pub(super) oid: u32,
    /// Its name.
    pub(super) name: QualifiedName,
    /// The shares of hashes that it holds, from the root down.
    pub(super) shares: Vec<Share>,
}

/// One share of a hash.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Share {
    /// The OID of the table that is divided.
    parent: u32,
    modulus: u32,
    remainder: u32,
    /// By which columns.
    columns: Vec<String>,
}

/// All leaves of a table.
pub(super) fn leaves(root: &Relation) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    collect(root, &mut Vec::new(), &mut leaves);
    leaves
}

fn collect(relation: &Relation, shares: &mut Vec<Share>, leaves: &mut Vec<Leaf>) {
    if relation.is_leaf() {
        let (oid, name) = (relation.oid, relation.name.clone());
        leaves.push(Leaf { oid, name, shares: shares.clone() });
    }
    let columns = hash_columns(relation);
    for partition in &relation.partitions {
        let share = match (&partition.bound, &columns) {
            (Some(Bound::Hash { modulus, remainder }), Some(columns)) => Some(Share {
                parent: relation.oid,
                modulus: *modulus,
                remainder: *remainder,
                columns: columns.clone(),
            }),
            _ => None,
        };
        let length = shares.len();
        shares.extend(share);
        collect(partition, shares, leaves);
        shares.truncate(length);
    }
}

/// The columns by which a relation is divided into shares, when they name the aggregate.
fn hash_columns(relation: &Relation) -> Option<Vec<String>> {
    let key = relation.partition_key.as_deref()?.strip_prefix("HASH (")?.strip_suffix(')')?;
    let columns: Vec<_> = key.split(", ").map(str::to_owned).collect();
    columns.iter().all(|column| AGGREGATE_COLUMNS.contains(&column.as_str())).then_some(columns)
}
