//! Plans how a leaf leaves its table for an archive.
//!
//! In one transaction under ACCESS EXCLUSIVE on the parent and the leaf, in which everybody is
//! looked at once more: a concurrent detach would hide the rows for a while, in which a projection
//! could pass an event that slipped in without having read it.
//!
//! A month that is over leaves nothing behind: nobody writes to it. The leaf of a context or of a
//! hash share is written to all the time, so an empty one takes its place in the transaction in
//! which it leaves; no insert ever finds neither.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::layout::month::Month;
use crate::layout::name::{self, QualifiedName};

use super::ensure;
use super::lifecycle::{self, LifecycleAction};
use super::step::{Action, Step};
use super::target::Located;

/// How a leaf leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Departure {
    /// In one transaction, in which the first statement takes the locks.
    AtOnce {
        /// The departure.
        step: Step,
        /// What the table is called afterwards.
        table: QualifiedName,
    },
    /// The same, with another leaf in its place.
    Exchange {
        /// Makes what takes its place, beside the table.
        before: Step,
        /// The exchange.
        exchange: Step,
        /// What the table is called afterwards.
        table: QualifiedName,
    },
}

/// Whether an empty leaf has to take the place of this one, so that nobody's inserts fail.
#[must_use]
pub fn needs_replacement(leaf: &Located<'_>, current: Month) -> bool {
    leaf.place.month().is_none_or(|month| month >= current)
}

/// Plans the departure of a leaf for the archive of this number; with another one in its place, if
/// that is wanted, in which stays what not everybody has read.
pub fn departure(
    layout: &Layout,
    catalog: &Catalog,
    leaf: &Located<'_>,
    archive: i64,
    replace: bool,
) -> Result<Departure> {
    let Located { relation, parent, .. } = leaf;
    let rename = |table: &QualifiedName, to: &QualifiedName| -> Action {
        LifecycleAction::Rename { table: table.clone(), to: to.name.clone() }.into()
    };
    let archived = beside(&relation.name, "archived", archive);
    if !replace {
        // What comes back in its place some day needs the name; a month that is over does not.
        let renamed = needs_replacement(leaf, catalog.server.month());
        let also = renamed.then(|| rename(&relation.name, &archived));
        let table = if renamed { archived } else { relation.name.clone() };
        let also = also.into_iter().collect();
        let step = lifecycle::detach_at_once(parent, &relation.name, also);
        return Ok(Departure::AtOnce { step, table });
    }
    let Some(bound) = &relation.bound else {
        return Err(Error::refused(format!("{} is not a partition", relation.name)));
    };
    let next = next(&relation.name, archive);
    let made = ensure::leaf(catalog, layout.triggers(), parent, &next, bound);
    let mut actions = Vec::new();
    if catalog.other_names.contains(&next.name) {
        // Left by a run that was interrupted before it took its place.
        actions.push(LifecycleAction::DropEmpty(next.clone()).into());
    }
    actions.push(Action::CreatePartition(made));
    let before = Step::new(
        format!("Make an empty partition to take the place of {}", relation.name.name),
        "it is attached in the transaction in which the full one leaves, so that inserts go on",
        actions,
    );
    let leaf = relation.name.clone();
    let columns = catalog.events.iter().flat_map(|events| &events.columns);
    // What is computed from others is not written.
    let columns = columns.filter(|column| !column.generated);
    let columns = columns.map(|column| column.name.clone()).collect();
    let also = vec![
        LifecycleAction::KeepTail { leaf, next: next.clone(), columns }.into(),
        rename(&relation.name, &archived),
        rename(&next, &relation.name),
        ensure::attachment(parent, relation.name.clone(), bound),
    ];
    let exchange = lifecycle::detach_at_once(parent, &relation.name, also);
    Ok(Departure::Exchange { before, exchange, table: archived })
}

/// The table that is to take the place of a leaf in the exchange for this archive, as long as it
/// has not.
#[must_use]
pub fn next(leaf: &QualifiedName, archive: i64) -> QualifiedName {
    beside(leaf, "next", archive)
}

/// A name beside a partition's, for the archive of this number.
fn beside(leaf: &QualifiedName, what: &str, archive: i64) -> QualifiedName {
    leaf.sibling(name::joined(&leaf.name, &format!("{what}_{archive}")))
}

/// Drops a table whose archive is proven.
#[must_use]
pub fn removal(table: &QualifiedName, archive: &str) -> Step {
    let lock = LifecycleAction::LockTable(table.clone());
    let drop = LifecycleAction::DropTable(table.clone());
    let mut step = Step::new(
        format!("Drop {}", table.name),
        format!("its rows are in the archive {archive}, which was proven"),
        vec![lock.into(), drop.into()],
    );
    step.destroys = true;
    step
}

/// The steps by which a leaf would leave, and be dropped, for who wants to read them first: with
/// the number 0 in place of that of the archive, which is known only then.
pub fn shown(
    layout: &Layout,
    catalog: &Catalog,
    leaf: &Located<'_>,
    retire: bool,
    drop: bool,
) -> Result<Vec<Step>> {
    let replace = !retire && needs_replacement(leaf, catalog.server.month());
    let (mut steps, table) = match departure(layout, catalog, leaf, 0, replace)? {
        Departure::AtOnce { step, table } => (vec![step], table),
        Departure::Exchange { before, exchange, table } => (vec![before, exchange], table),
    };
    if drop {
        steps.push(removal(&table, &leaf.relation.name.name));
    }
    Ok(steps)
}
