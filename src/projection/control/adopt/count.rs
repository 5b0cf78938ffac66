//! How many events are handled again, or never, when slots begin elsewhere than the partitions
//! from which they come.

use std::collections::BTreeSet;

use postgres::GenericClient;
use postgres::fallible_iterator::FallibleIterator;
use serde::Serialize;

use super::plan::{Plan, Start, Wish};
use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::projection::Fnv1a;
use crate::render::environment::{render, values};

/// What a plan costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// How many events are never handled.
    pub lost: i64,
    /// How many events are handled once more.
    pub repeated: i64,
}

/// Counts the events between the lowest and the highest position, by the partition to which each
/// belongs. What is in archives is not there to be counted.
pub(super) fn cost(
    client: &mut impl GenericClient,
    events: &QualifiedName,
    wish: &Wish,
    plan: &Plan,
) -> Result<Cost> {
    let Some(start) = plan.start else { return Ok(Cost::default()) };
    let failed = |error| Error::database("counting the events between the partitions", error);
    let positions: BTreeSet<i64> = plan.sources.iter().map(|source| source.position).collect();
    // Bucket b holds what lies above b positions of rows: in bucket 1 above the lowest alone.
    let thresholds: Vec<i64> = positions.iter().map(|at| at.saturating_add(1)).collect();
    let (after, up_to) = (plan.lowest(), plan.highest());
    let (contexts, aggregates) = (&wish.contexts, &wish.aggregates);
    let sql = render(
        "projection/control/count_between",
        &values! { events, thresholds, after, up_to, contexts, aggregates },
    );
    let positions: Vec<i64> = positions.into_iter().collect();
    let mut cost = Cost::default();
    let no_parameters: [&str; 0] = [];
    let mut rows = client.query_raw(&sql, no_parameters).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let id: String = row.try_get("aggregate_id").map_err(failed)?;
        let bucket: i32 = row.try_get("bucket").map_err(failed)?;
        let events: i64 = row.try_get("events").map_err(failed)?;
        let source = usize::try_from(Fnv1a::slot_of(&id, wish.total)).unwrap_or(usize::MAX);
        let reached = plan.sources.get(source).map_or(0, |source| source.position);
        // All of the bucket lie above this position, and not above the next.
        let above = usize::try_from(bucket - 1).ok().and_then(|index| positions.get(index));
        let handled = above.is_some_and(|above| *above < reached);
        match start {
            Start::Lowest if handled => cost.repeated += events,
            Start::Highest if !handled => cost.lost += events,
            _ => {}
        }
    }
    Ok(cost)
}
