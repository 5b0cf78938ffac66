//! What each layout would be like in two years.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::layout::levels::PartitionBy;
use crate::layout::month::Month;
use crate::layout::retention::Retention;
use crate::layout::{MONTHS_AHEAD, Months};

use super::Question;

/// How far ahead a store is looked at, in months.
pub(super) const MONTHS: u64 = 24;

/// A layout in two years.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// The layout, as `--partition-by` takes it.
    pub layout: &'static str,
    /// How many leaves events have.
    pub leaves: usize,
    /// Of how many months; none where it has no months.
    pub months: Option<usize>,
    /// How many events the largest leaf has.
    pub largest_rows: u64,
    /// How large it is with its indexes, in bytes.
    pub largest_bytes: u64,
    /// How many locks a statement takes that opens all leaves.
    pub locks: usize,
    /// How much of the server's lock table that is, in percent.
    pub locks_percent: usize,
    /// Whether it is the one that is recommended.
    pub recommended: bool,
}

/// A layout in two years, with so many hash partitions where it has a hash level.
#[must_use]
pub fn forecast(question: &Question<'_>, layout: PartitionBy, hash: u32, monthly: u64) -> Forecast {
    let has = |word: &str| layout.as_str().split(',').any(|level| level == word);
    let workload = question.workload;
    let shares = workload.map(|workload| &workload.contexts[..]).unwrap_or_default();
    let others =
        question.contexts.iter().filter(|name| !shares.iter().any(|share| share.name == **name));
    let names: Vec<&str> =
        shares.iter().map(|share| share.name.as_str()).chain(others.map(String::as_str)).collect();
    let counted: u64 = shares.iter().map(|share| share.rows).sum();
    let rows = workload.map_or(0, |workload| workload.rows);
    let bytes = workload.map_or(0, |workload| workload.table_bytes + workload.index_bytes);

    // One branch for each context, or one for all, with its share of the events.
    let branches: Vec<(Option<&str>, u64)> = if has("context") && !names.is_empty() {
        let share = |name: &str| {
            let own = shares.iter().find(|share| share.name == name).map_or(0, |share| share.rows);
            part(1_000_000, own, counted.max(1))
        };
        names.iter().map(|name| (Some(*name), share(name))).collect()
    } else {
        vec![(None, 1_000_000)]
    };
    let shares_of_hash = if has("hash") { u64::from(hash.max(1)) } else { 1 };
    let (mut leaves, mut months, mut largest) = (0, None, 0);
    for (context, share) in branches {
        let own_monthly = part(monthly, share, 1_000_000);
        let (per_branch, rows_of_leaf) = if has("month") {
            let kept = months_kept(question, context);
            months = months.max(Some(kept));
            let largest_month = workload
                .and_then(|workload| workload.months.iter().map(|month| month.rows).max())
                .map_or(0, |rows| part(rows, share, 1_000_000));
            (kept, own_monthly.max(largest_month))
        } else {
            let future = rows.saturating_add(monthly.saturating_mul(MONTHS));
            (1, part(future, share, 1_000_000))
        };
        leaves += per_branch * usize::try_from(shares_of_hash).unwrap_or(1);
        largest = largest.max(rows_of_leaf / shares_of_hash);
    }
    let parents = usize::from(layout != PartitionBy::None);
    let locks = leaves * (1 + question.indexes) + parents;
    let capacity = question.server.lock_table().max(1);
    Forecast {
        layout: layout.as_str(),
        leaves,
        months,
        largest_rows: largest,
        largest_bytes: part(bytes, largest, rows.max(1)),
        locks,
        locks_percent: locks * 100 / capacity,
        recommended: false,
    }
}

/// Of how many months there are leaves in two years: those with events, and those that `partitions
/// ensure` makes between them and for the time to come, as long as they stay.
fn months_kept(question: &Question<'_>, context: Option<&str>) -> usize {
    let current = question.server.month();
    let there = question.workload.map(|workload| &workload.months[..]).unwrap_or_default();
    let mut months: BTreeSet<Month> = there.iter().map(|rows| rows.month).collect();
    let ahead = u32::try_from(MONTHS).unwrap_or(u32::MAX).saturating_add(MONTHS_AHEAD);
    if let Ok(wanted) = Months::new(current, ahead, None) {
        let wanted = wanted.of_branch(context, &months, &BTreeSet::new());
        months.extend(wanted);
    }
    let then = current.plus(i32::try_from(MONTHS).unwrap_or(i32::MAX));
    let time: Option<Retention> = question.keeps.of(context);
    let stays = |end| time.is_none_or(|time| !time.has_expired(end, then.start()));
    months.into_iter().filter(|month| stays(month.end())).count()
}

fn part(of: u64, numerator: u64, denominator: u64) -> u64 {
    let value = u128::from(of) * u128::from(numerator) / u128::from(denominator.max(1));
    u64::try_from(value).unwrap_or(u64::MAX)
}
