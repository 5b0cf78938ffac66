//! A calendar month in UTC: the only unit of time by which pupctl partitions.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};

use crate::error::{Error, Result};

/// The years that pupctl accepts: wide enough for imported history and for retention far ahead,
/// narrow enough to catch a typing error such as `20206-01`.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2999;

/// A month in UTC, from 1900-01 to 2999-12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// Months since year 0, so that arithmetic is plain addition.
    index: i32,
}

impl Month {
    /// January 1970.
    pub const EPOCH: Self = Self { index: 1970 * 12 };

    /// The month of a calendar year (`month` counts from 1), when it is within the limits.
    #[must_use]
    pub fn new(year: i32, month: u32) -> Option<Self> {
        let month = i32::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
        YEARS.contains(&year).then_some(Self { index: year * 12 + month - 1 })
    }

    /// The month in which an instant lies, in UTC.
    #[must_use]
    pub fn of(instant: DateTime<Utc>) -> Option<Self> {
        Self::new(instant.year(), instant.month())
    }

    /// The month that starts exactly at this instant, if one does.
    #[must_use]
    pub fn starting_at(instant: DateTime<Utc>) -> Option<Self> {
        Self::of(instant).filter(|month| month.start() == instant)
    }

    /// The calendar year.
    #[must_use]
    pub fn year(self) -> i32 {
        self.index.div_euclid(12)
    }

    /// The number of the month in its year, from 1.
    #[must_use]
    pub fn number(self) -> u32 {
        self.index.rem_euclid(12).unsigned_abs() + 1
    }

    /// The month that lies `months` later (earlier when negative). Steps out of the limits stop
    /// at the limit.
    #[must_use]
    pub fn plus(self, months: i32) -> Self {
        let first = YEARS.start() * 12;
        let last = YEARS.end() * 12 + 11;
        Self { index: self.index.saturating_add(months).clamp(first, last) }
    }

    /// How many months lie between `earlier` and this one.
    #[must_use]
    pub fn since(self, earlier: Self) -> i32 {
        self.index - earlier.index
    }

    /// The first instant of the month; the bound of its partition, inclusive.
    #[must_use]
    pub fn start(self) -> DateTime<Utc> {
        NaiveDate::from_ymd_opt(self.year(), self.number(), 1)
            .unwrap_or(NaiveDate::MIN)
            .and_time(NaiveTime::MIN)
            .and_utc()
    }

    /// The first instant after the month; the bound of its partition, exclusive.
    #[must_use]
    pub fn end(self) -> DateTime<Utc> {
        // Not `plus(1)`: the last month of the limits has an end too.
        Self { index: self.index + 1 }.start()
    }

    /// This month and all that follow up to and including `last`.
    pub fn through(self, last: Self) -> impl Iterator<Item = Self> {
        (self.index..=last.index).map(|index| Self { index })
    }

    /// The ending of a partition's name, `2026_11`.
    #[must_use]
    pub fn suffix(self) -> String {
        format!("{:04}_{:02}", self.year(), self.number())
    }
}

impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}", self.year(), self.number())
    }
}

impl FromStr for Month {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('-').and_then(|(year, month)| {
            if year.len() != 4 || month.len() != 2 {
                return None;
            }
            Self::new(year.parse().ok()?, month.parse().ok()?)
        });
        parsed.ok_or_else(|| {
            Error::invalid(format!("`{text}` is not a month"))
                .hint("write year and month, 2026-11, from 1900-01 to 2999-12")
        })
    }
}

impl serde::Serialize for Month {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().expect("a month")
    }

    #[test]
    fn bounds_are_the_first_instants_in_utc() {
        let december = month("2026-12");
        assert_eq!(december.start().to_rfc3339(), "2026-12-01T00:00:00+00:00");
        assert_eq!(december.end().to_rfc3339(), "2027-01-01T00:00:00+00:00");
        assert_eq!(december.plus(1), month("2027-01"));
        assert_eq!(december.plus(-12), month("2025-12"));
    }

    #[test]
    fn the_limits_hold() {
        assert_eq!(month("2999-12").plus(1), month("2999-12"));
        assert_eq!(month("2999-12").end().to_rfc3339(), "3000-01-01T00:00:00+00:00");
        for wrong in ["2026-13", "2026-00", "1899-12", "3000-01", "2026-1", "26-01", "x", "2026"] {
            assert!(wrong.parse::<Month>().is_err(), "{wrong} must be refused");
        }
    }

    #[test]
    fn only_a_first_instant_starts_a_month() {
        let first = month("2026-11").start();
        assert_eq!(Month::starting_at(first), Some(month("2026-11")));
        assert_eq!(Month::starting_at(first + chrono::TimeDelta::microseconds(1)), None);
    }

    #[test]
    fn through_includes_both_ends() {
        let all: Vec<_> = month("2026-11").through(month("2027-01")).map(Month::suffix).collect();
        assert_eq!(all, ["2026_11", "2026_12", "2027_01"]);
    }

    #[test]
    fn every_month_reads_back_and_meets_the_next() {
        let all: Vec<_> = month("1900-01").through(month("2999-12")).collect();
        assert_eq!(all.len(), 1100 * 12);
        for pair in all.windows(2) {
            let [one, next] = pair else { unreachable!("pairs") };
            assert_eq!(one.to_string().parse::<Month>().ok(), Some(*one));
            assert_eq!(one.end(), next.start(), "{one} meets {next}");
            assert_eq!((one.plus(1), next.plus(-1), next.since(*one)), (*next, *one, 1));
            assert_eq!(Month::new(one.year(), one.number()), Some(*one));
            assert_eq!(Month::starting_at(one.start()), Some(*one));
            let last = one.end() - chrono::TimeDelta::microseconds(1);
            assert_eq!(Month::of(last), Some(*one));
        }
    }
}
