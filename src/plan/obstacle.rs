//! Why a partition that is missing cannot be made, though its name and bounds are free.

use crate::catalog::index::Index;
use crate::catalog::relation::Relation;
use crate::layout::Role;
use crate::layout::desired::DesiredPartition;
use crate::layout::levels::Level;

/// Why a partition cannot be made like its parent, with the key that it must have.
pub(super) fn to_making(
    role: Role,
    parent: &Relation,
    wanted: &DesiredPartition,
) -> Option<String> {
    let columns = |index: &Index| index.columns.join(", ");
    if wanted.level == Some(Level::Month) {
        let key = parent.key_without_time()?;
        return Some(format!(
            "the unique index {} of {} on ({}) lacks created_at, which PostgreSQL wants in it",
            key.name,
            parent.name,
            columns(key)
        ));
    }
    if wanted.key {
        let key = parent.other_primary_key(role.key_columns())?;
        return Some(format!(
            "{} has its primary key on ({}), and a partition would get it in place of its own",
            parent.name,
            columns(key)
        ));
    }
    None
}

/// Why a branch that carries the mark is not the one that an earlier run began. Whoever may make
/// tables in the schema can write that comment.
pub(super) fn to_finishing(
    branch: &Relation,
    parent: &Relation,
    wanted: &DesiredPartition,
) -> Option<String> {
    if branch.owner != parent.owner {
        return Some(format!(
            "the branch {} is marked as begun for it, but belongs to {}, and {} to {}",
            branch.name, branch.owner, parent.name, parent.owner
        ));
    }
    let level = wanted.level.as_ref().map(Level::partition_key);
    (branch.partition_key != level).then(|| {
        format!("the branch {} is marked as begun for it, but divided otherwise", branch.name)
    })
}
