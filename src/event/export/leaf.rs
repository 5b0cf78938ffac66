//! Which leaves hold what is meant, by their bounds (pure).

use serde::Serialize;

use crate::catalog::relation::Relation;
use crate::layout::bounds::{Bound, Edge};
use crate::layout::name::QualifiedName;

use super::selection::Selection;

/// A table to read, and which conditions its bounds do not answer already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
// Each stands for itself.
#[expect(clippy::struct_excessive_bools)]
pub(super) struct Leaf {
    /// The table.
    pub table: QualifiedName,
    /// Whether only its own rows are meant, not those of tables below it.
    pub only: bool,
    /// How many locks a statement takes that reads it: the table and its indexes.
    pub locks: usize,
    /// Whether some of its rows are of other contexts than those that are meant.
    #[serde(skip)]
    pub other_contexts: bool,
    /// Whether some of its rows are earlier than those that are meant.
    #[serde(skip)]
    pub earlier: bool,
    /// Whether some of its rows are later.
    #[serde(skip)]
    pub later: bool,
    /// For asking about rights.
    #[serde(skip)]
    pub oid: u32,
    /// The planner's estimate of its rows.
    #[serde(skip)]
    pub rows: Option<u64>,
}

/// The leaves to read, and the partitions that are being detached: readers of the store do not
/// see these any more.
pub(super) fn choose(root: &Relation, selection: &Selection) -> (Vec<Leaf>, Vec<QualifiedName>) {
    let mut found = (Vec::new(), Vec::new());
    collect(root, &Holds::everything(), selection, &mut found);
    found
}

/// The whole table as one source, for a role that may read it but not its partitions: it takes
/// the locks of the tables down to the chosen leaves.
pub(super) fn through(root: &Relation, leaves: &[Leaf], selection: &Selection) -> Leaf {
    let branches = root.walk().filter(|relation| !relation.is_leaf());
    let branch_locks: usize = branches.map(locks).sum();
    let leaf_locks: usize = leaves.iter().map(|leaf| leaf.locks).sum();
    let rows = leaves.iter().map(|leaf| leaf.rows).sum();
    let whole = Holds::everything().leaf(root, selection);
    Leaf { only: false, locks: branch_locks + leaf_locks, rows, ..whole }
}

fn locks(relation: &Relation) -> usize {
    1 + relation.indexes.len()
}

fn collect(
    relation: &Relation,
    holds: &Holds,
    selection: &Selection,
    found: &mut (Vec<Leaf>, Vec<QualifiedName>),
) {
    if !holds.meets(selection) {
        return;
    }
    if relation.detach_pending {
        found.1.push(relation.name.clone());
        return;
    }
    if relation.is_leaf() {
        found.0.push(holds.leaf(relation, selection));
    }
    for partition in &relation.partitions {
        collect(partition, &holds.below(relation, partition), selection, found);
    }
}

/// What a relation can hold, by its own bound and those above it.
#[derive(Debug, Clone)]
struct Holds {
    /// None where the contexts are not known.
    contexts: Option<Vec<Option<String>>>,
    from: Edge,
    to: Edge,
}

impl Holds {
    fn everything() -> Self {
        Self { contexts: None, from: Edge::Min, to: Edge::Max }
    }

    /// Only bounds on the columns of layouts tell anything; what people partition by other
    /// columns is read.
    fn below(&self, parent: &Relation, partition: &Relation) -> Self {
        let mut holds = self.clone();
        match (parent.partition_key.as_deref(), &partition.bound) {
            (Some("LIST (bounded_context)"), Some(Bound::List(values))) => {
                holds.contexts = Some(values.clone());
            }
            (Some("RANGE (created_at)"), Some(Bound::Range { from, to })) => {
                holds.from = holds.from.max(*from);
                holds.to = holds.to.min(*to);
            }
            _ => {}
        }
        holds
    }

    fn meets(&self, selection: &Selection) -> bool {
        let wanted = |value: &Option<String>| {
            value.as_ref().is_some_and(|name| selection.contexts.contains(name))
        };
        let context = selection.contexts.is_empty()
            || self.contexts.as_ref().is_none_or(|values| values.iter().any(wanted));
        context
            && selection.from.is_none_or(|from| Edge::At(from.0) < self.to)
            && selection.to.is_none_or(|to| self.from < Edge::At(to.0))
    }

    fn leaf(&self, relation: &Relation, selection: &Selection) -> Leaf {
        let is_meant = |values: &Vec<Option<String>>| {
            let mut names = values.iter().flatten();
            names.all(|name| selection.contexts.contains(name))
        };
        let all_meant =
            selection.contexts.is_empty() || self.contexts.as_ref().is_some_and(is_meant);
        Leaf {
            table: relation.name.clone(),
            only: true,
            locks: locks(relation),
            other_contexts: !all_meant,
            earlier: selection.from.is_some_and(|from| self.from < Edge::At(from.0)),
            later: selection.to.is_some_and(|to| Edge::At(to.0) < self.to),
            oid: relation.oid,
            rows: relation.rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::catalog::handmade;
    use crate::layout::levels::PartitionBy;

    fn store(by: &str) -> Catalog {
        let by: PartitionBy = by.parse().expect("levels");
        let contexts: &[&str] = if by.as_str().starts_with("context") { &["A", "B"] } else { &[] };
        handmade::whole_store(&handmade::layout(by, contexts))
    }

    /// The chosen leaves, with what must be asked of their rows.
    fn chosen(catalog: &Catalog, selection: &Selection) -> Vec<String> {
        let root = &catalog.events.as_ref().expect("events").root;
        let (leaves, detaching) = choose(root, selection);
        assert_eq!(detaching, []);
        let told = |leaf: &Leaf| {
            let marks = [(leaf.other_contexts, 'c'), (leaf.earlier, '<'), (leaf.later, '>')];
            let marks = marks.iter().filter(|(holds, _)| *holds).map(|(_, mark)| mark);
            format!("{}{}", leaf.table.name, marks.collect::<String>())
        };
        leaves.iter().map(told).collect()
    }

    fn only(contexts: &[&str], from: &str, to: &str) -> Selection {
        Selection {
            contexts: contexts.iter().map(|&name| name.to_owned()).collect(),
            from: from.parse().ok(),
            to: to.parse().ok(),
            ..Selection::default()
        }
    }

    #[test]
    fn bounds_leave_out_what_holds_nothing_that_is_meant() {
        let store = store("context,month");
        assert_eq!(chosen(&store, &Selection::default()).len(), 4);
        assert_eq!(chosen(&store, &only(&["A"], "2026-11", "2026-12")), ["events_a_2026_11"]);
        assert_eq!(
            chosen(&store, &only(&["B"], "2026-11-05", "2026-12-05")),
            ["events_b_2026_11<", "events_b_2026_12>"]
        );
        assert!(chosen(&store, &only(&[], "2027-03", "")).is_empty());
    }

    #[test]
    fn what_no_bound_answers_is_asked_of_the_rows() {
        assert_eq!(chosen(&store("none"), &only(&["A"], "2026-11", "2026-12")), ["eventsc<>"]);
        assert_eq!(chosen(&store("hash"), &only(&["A"], "", "")).len(), 2);
    }

    #[test]
    fn what_is_being_detached_is_told_apart() {
        let mut catalog = store("month");
        let root = &mut catalog.events.as_mut().expect("events").root;
        root.partitions[0].detach_pending = true;
        let (leaves, detaching) = choose(root, &Selection::default());
        assert_eq!((leaves.len(), detaching.len()), (1, 1));
        let (leaves, detaching) = choose(root, &only(&[], "2026-12", ""));
        assert_eq!((leaves.len(), detaching.len()), (1, 0));
    }

    #[test]
    fn through_the_whole_table_all_locks_count() {
        let catalog = store("context");
        let root = &catalog.events.as_ref().expect("events").root;
        let (leaves, _) = choose(root, &only(&["A"], "", ""));
        let whole = through(root, &leaves, &only(&["A"], "", ""));
        assert_eq!(whole.locks, leaves[0].locks + 1 + root.indexes.len());
        assert!(whole.other_contexts && !whole.only);
    }
}
