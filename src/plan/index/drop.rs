//! Plans the end of an index.

use crate::catalog::Catalog;
use crate::catalog::index::Index;
use crate::catalog::relation::Relation;
use crate::error::{Error, Result};
use crate::layout::Role;

use super::{Action, IndexAction, Plan, Step, concurrent, named};

/// Plans to remove the index of this name; an empty plan where there is none.
pub fn drop(catalog: &Catalog, name: &str) -> Result<Plan> {
    let mut plan = Plan::default();
    let found = named(catalog, name);
    let Some((table, index)) = found else { return Ok(plan) };
    refuse_needed(catalog, table, index)?;
    let qualified = table.name.sibling(name);
    let mut step = if table.is_leaf() {
        let tables = vec![table.name.clone()];
        concurrent(
            format!("Drop {name}"),
            "readers and writers go on; it waits for transactions that use it",
            IndexAction::Drop { index: qualified, tables, concurrently: true },
        )
    } else {
        let tables = table.walk().map(|relation| relation.name.clone()).collect();
        Step::new(
            format!("Drop {name} with the indexes of all partitions"),
            "PostgreSQL drops the index of a partitioned table at once, under ACCESS EXCLUSIVE on \
             it and on every partition: readers and writers wait until the locks are there",
            vec![Action::Index(IndexAction::Drop {
                index: qualified,
                tables,
                concurrently: false,
            })],
        )
    };
    step.destroys = true;
    plan.steps.push(step);
    plan.notes.extend(of_the_layout(catalog, table, index));
    Ok(plan)
}

/// Refuses an index that is not only there to be fast.
fn refuse_needed(catalog: &Catalog, table: &Relation, index: &Index) -> Result<()> {
    let name = table.name.sibling(index.name.as_str());
    if index.primary || index.constraint.is_some() || is_key(catalog, table, index) {
        let columns = index.columns.join(", ");
        return Err(Error::refused(format!(
            "{name} is a key of {} on ({columns}), not only an index",
            table.name
        ))
        .hint("keys keep versions, ids and positions unique: pupctl does not drop them"));
    }
    if index.replica_identity {
        return Err(Error::refused(format!(
            "{name} is the replica identity of {}: without it updates could not be published",
            table.name
        ))
        .hint("choose another replica identity first"));
    }
    let Some(parent) = index.parent else { return Ok(()) };
    // A part of a branch's index is a part of the table's.
    let above = |oid| {
        catalog.roots().flat_map(Relation::walk).find_map(|relation| {
            let index = relation.indexes.iter().find(|index| index.oid == oid)?;
            Some((relation, index))
        })
    };
    let mut whole = above(parent);
    while let Some(next) = whole.and_then(|(_, index)| above(index.parent?)) {
        whole = Some(next);
    }
    let error = Error::refused(format!("{name} is a part of the index of its parent table"));
    Err(match whole {
        Some((parent, index)) => error
            .detail(format!("it belongs to {} on {}", index.name, parent.name))
            .hint(format!("drop the whole: pupctl schema index drop {}", index.name)),
        None => error.hint("drop the parent's"),
    })
}

/// Whether it is one of the keys that every leaf needs, though no constraint owns it.
fn is_key(catalog: &Catalog, table: &Relation, index: &Index) -> bool {
    Role::ALL.into_iter().any(|role| {
        let ours = catalog
            .table(role)
            .is_some_and(|store| store.root.walk().any(|relation| relation.oid == table.oid));
        let single = role.unique_columns().iter().any(|column| index.is_key_on(&[column]));
        ours && (index.is_key_on(role.key_columns()) || single)
    })
}

/// What to know of an index that the layout itself wants.
fn of_the_layout(catalog: &Catalog, table: &Relation, index: &Index) -> Option<String> {
    let is_events = catalog.events.as_ref().is_some_and(|events| events.root.oid == table.oid);
    let (method, column) = if is_events { ("brin", "created_at") } else { ("btree", "updated_at") };
    index.is_on(method, &[column]).then(|| {
        format!("{} belongs to the layout: pupctl schema verify will report it missing", index.name)
    })
}
