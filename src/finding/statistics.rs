//! Statistics of tables with partitions, which autovacuum never gathers.

use crate::catalog::Catalog;
use crate::catalog::relation::{Relation, RelationKind};
use crate::render::health;

use super::Finding;

/// Below this many rows the planner's guess costs nothing that a reader could measure: it is a
/// table of some hundred pages.
const ROWS_MIN: u64 = 10_000;

/// A table that has grown to so many times of what its statistics say is planned wrongly: an hour
/// of writing, which is what autovacuum allows a leaf, does not double a store.
const GROWN: u64 = 2;

/// Tables with partitions that nobody has analyzed, or not for long.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let parents = catalog
        .roots()
        .flat_map(Relation::walk)
        .filter(|relation| relation.kind == RelationKind::Partitioned);
    let only = catalog.server.major() >= 18;
    parents
        .filter_map(|parent| {
            let rows: u64 = parent.leaves().filter_map(|leaf| leaf.rows).sum();
            let message = match parent.rows {
                _ if rows < ROWS_MIN => return None,
                None => format!(
                    "it was never analyzed, and its partitions hold about {rows} rows: the planner \
                     guesses how many it would read"
                ),
                Some(known) if known.saturating_mul(GROWN) < rows => format!(
                    "its statistics are of a time when it had about {known} rows; its partitions \
                     hold about {rows}"
                ),
                Some(_) => return None,
            };
            Some(
                Finding::warning("statistics", &parent.name, message)
                    .remedy(health::analyze(&parent.name, only)),
            )
        })
        .collect()
}
