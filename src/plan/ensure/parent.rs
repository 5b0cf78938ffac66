//! What the planner has to know of a table to which it adds partitions.

use crate::catalog::relation::Relation;
use crate::layout::Role;
use crate::layout::desired::DesiredPartition;
use crate::layout::name::QualifiedName;

/// The table to which partitions are added, as the planner needs it: it may be in the catalog,
/// or only in the plan.
pub(super) struct Parent<'a> {
    pub(super) name: QualifiedName,
    /// With what the names of its partitions begin: its own name, or that of the table for which
    /// it stands.
    pub(super) base: QualifiedName,
    pub(super) relation: &'a Relation,
    /// Whether it carries the aggregate key, which LIKE then copies.
    pub(super) has_key: bool,
    /// Whether readers and writers can reach it, so that it must be locked with care.
    pub(super) live: bool,
    pub(super) default: Option<QualifiedName>,
    pub(super) foreign_keys: Vec<QualifiedName>,
}

impl<'a> Parent<'a> {
    /// A branch that is only in the plan, with the owner and the grants of its parent.
    pub(super) fn branch(&self, name: &QualifiedName, wanted: &DesiredPartition) -> Self {
        Self {
            name: name.clone(),
            base: name.clone(),
            relation: self.relation,
            has_key: wanted.key,
            live: false,
            default: None,
            foreign_keys: Vec::new(),
        }
    }

    pub(super) fn of(role: Role, relation: &'a Relation, live: bool) -> Self {
        Self {
            name: relation.name.clone(),
            base: relation.name.clone(),
            relation,
            live,
            has_key: relation
                .indexes
                .iter()
                .any(|index| index.primary && index.is_key_on(role.key_columns())),
            default: relation.default_partition().map(|default| default.name.clone()),
            foreign_keys: relation.foreign_keys.clone(),
        }
    }
}
