//! What the months of a store take, and how it grows.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Serialize;

use crate::layout::month::Month;

use super::partitions::{Absence, Absent, Partition, State};

/// The growth is that of so many whole months.
const GROWTH_MONTHS: i32 = 3;

/// When the rows of a table were made, as the planner's statistics have it. Times are seconds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// The share of rows without a time.
    pub nulls: f64,
    /// The most common times…
    pub common: Vec<f64>,
    /// … and the share of rows that each has.
    pub frequencies: Vec<f64>,
    /// The edges between which the other rows are, as many between each two.
    pub edges: Vec<f64>,
}

/// What a month has of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MonthShare {
    /// The month.
    pub month: Month,
    /// How many rows.
    pub rows: u64,
    /// How many bytes, with indexes.
    pub bytes: u64,
}

/// What a month of events takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MonthTotal {
    /// The month.
    pub month: Month,
    /// The planner's estimate of its rows.
    pub rows: u64,
    /// What they take, with indexes.
    pub bytes: u64,
    /// Whether some of it was shared out by the planner's statistics.
    pub estimated: bool,
    /// How many leaves are of this month.
    pub leaves: usize,
    /// How many of them are closed.
    pub closed: usize,
    /// How many left for an archive.
    pub archived: usize,
    /// How many lie beside the store.
    pub detached: usize,
    /// How many the layout wants and are not there.
    pub missing: usize,
}

/// How a store grows: the mean of the last whole months.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Growth {
    /// Of how many months.
    pub months: u32,
    /// Rows a month.
    pub rows_per_month: u64,
    /// Bytes a month.
    pub bytes_per_month: u64,
}

impl MonthTotal {
    fn of(month: Month) -> Self {
        Self {
            month,
            rows: 0,
            bytes: 0,
            estimated: false,
            leaves: 0,
            closed: 0,
            archived: 0,
            detached: 0,
            missing: 0,
        }
    }
}

impl Histogram {
    /// Shares rows and bytes out among the months.
    #[must_use]
    pub fn months(&self, rows: u64, bytes: u64) -> Vec<MonthShare> {
        let mut shares: BTreeMap<Month, f64> = BTreeMap::new();
        let mut add = |seconds: f64, share: f64| {
            if let Some(month) = month_at(seconds) {
                *shares.entry(month).or_default() += share;
            }
        };
        for (&at, &share) in self.common.iter().zip(&self.frequencies) {
            add(at, share);
        }
        let common: f64 = self.frequencies.iter().sum();
        let between = self.edges.len().saturating_sub(1);
        if between > 0 {
            #[expect(clippy::cast_precision_loss, reason = "at most 10,000")]
            let each = (1.0 - self.nulls - common).max(0.0) / between as f64;
            for edges in self.edges.windows(2) {
                spread(edges[0], edges[1], each, &mut add);
            }
        }
        let one = |(month, share): (Month, f64)| MonthShare {
            month,
            rows: part(rows, share),
            bytes: part(bytes, share),
        };
        shares.into_iter().map(one).collect()
    }
}

/// Shares out what lies between two times, as if there were as much at any time.
fn spread(from: f64, to: f64, share: f64, add: &mut impl FnMut(f64, f64)) {
    let (Some(first), Some(last)) = (month_at(from), month_at(to)) else {
        return add(if from.is_finite() { from } else { to }, share);
    };
    if first == last || to <= from {
        return add(from, share);
    }
    for month in first.through(last) {
        let begin = seconds(month.start().timestamp()).max(from);
        let end = seconds(month.end().timestamp()).min(to);
        add(seconds(month.start().timestamp()), share * (end - begin).max(0.0) / (to - from));
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of years with four digits")]
fn seconds(timestamp: i64) -> f64 {
    timestamp as f64
}

#[expect(clippy::cast_possible_truncation, reason = "it is within the years of months")]
fn month_at(seconds: f64) -> Option<Month> {
    if !seconds.is_finite() || seconds.abs() > 1e12 {
        return None;
    }
    Month::of(DateTime::from_timestamp(seconds.floor() as i64, 0)?)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "an estimate"
)]
fn part(whole: u64, share: f64) -> u64 {
    (whole as f64 * share).round().max(0.0) as u64
}

/// What every month takes, from the first that is known to the last, without a hole.
pub(super) fn months(partitions: &[Partition], absent: &[Absent]) -> Vec<MonthTotal> {
    let mut found: BTreeMap<Month, MonthTotal> = BTreeMap::new();
    for leaf in partitions {
        for share in &leaf.estimated_months {
            let total = found.entry(share.month).or_insert(MonthTotal::of(share.month));
            (total.rows, total.bytes) = (total.rows + share.rows, total.bytes + share.bytes);
            total.estimated = true;
        }
        let Some(month) = leaf.month else { continue };
        let total = found.entry(month).or_insert(MonthTotal::of(month));
        total.rows += leaf.rows.unwrap_or(0);
        total.bytes += leaf.table_bytes + leaf.index_bytes;
        total.leaves += 1;
        total.closed += usize::from(leaf.state == State::Closed);
    }
    for one in absent {
        let Some(month) = one.month else { continue };
        let total = found.entry(month).or_insert(MonthTotal::of(month));
        let count = match one.absence {
            Absence::Missing => &mut total.missing,
            Absence::Detached => &mut total.detached,
            Absence::Archived => &mut total.archived,
        };
        *count += 1;
    }
    let (Some(first), Some(last)) =
        (found.keys().next().copied(), found.keys().next_back().copied())
    else {
        return Vec::new();
    };
    let total = |month| found.get(&month).copied().unwrap_or(MonthTotal::of(month));
    first.through(last).map(total).collect()
}

/// The mean of the last whole months that the store has.
pub(super) fn growth(months: &[MonthTotal], current: Month) -> Growth {
    let first = current.plus(-GROWTH_MONTHS);
    let last = |total: &&MonthTotal| total.month >= first && total.month < current;
    let last: Vec<_> = months.iter().filter(last).collect();
    let Some(count) = u64::try_from(last.len()).ok().filter(|&count| count > 0) else {
        return Growth::default();
    };
    Growth {
        months: u32::try_from(count).unwrap_or(u32::MAX),
        rows_per_month: last.iter().map(|total| total.rows).sum::<u64>() / count,
        bytes_per_month: last.iter().map(|total| total.bytes).sum::<u64>() / count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> f64 {
        seconds(text.parse::<chrono::DateTime<chrono::Utc>>().expect("an instant").timestamp())
    }

    fn shares(histogram: &Histogram) -> Vec<(String, u64)> {
        histogram.months(1000, 0).iter().map(|one| (one.month.to_string(), one.rows)).collect()
    }

    #[test]
    fn rows_are_shared_out_by_the_statistics() {
        let histogram = Histogram {
            common: vec![at("2025-01-05T00:00:00Z")],
            frequencies: vec![0.5],
            edges: vec![
                at("2025-02-01T00:00:00Z"),
                at("2025-02-28T00:00:00Z"),
                at("2025-03-01T00:00:00Z"),
                at("2025-05-01T00:00:00Z"),
            ],
            ..Histogram::default()
        };
        let wanted = [("2025-01", 500), ("2025-02", 333), ("2025-03", 85), ("2025-04", 82)];
        let found: Vec<_> = shares(&histogram).into_iter().filter(|(_, rows)| *rows > 0).collect();
        assert_eq!(found, wanted.map(|(month, rows)| (month.to_owned(), rows)));
    }

    #[test]
    fn times_that_are_none_do_not_matter() {
        let endless = Histogram {
            edges: vec![f64::NEG_INFINITY, at("2025-02-01T00:00:00Z"), f64::INFINITY, f64::NAN],
            ..Histogram::default()
        };
        assert_eq!(shares(&endless), [("2025-02".to_owned(), 667)]);
        assert_eq!(shares(&Histogram::default()), []);
        let far = Histogram { edges: vec![-1e300, 1e300], ..Histogram::default() };
        assert_eq!(shares(&far), []);
    }
}
