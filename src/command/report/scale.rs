//! Months side by side: as many in a column as leave the columns wide enough to be seen.

use serde::Serialize;

use crate::layout::month::Month;

/// How many columns there are at most.
const COLUMNS_MAX: i32 = 120;

/// How wide all columns are together, in pixels.
const WIDTH: i32 = 720;

/// How wide a column is.
const COLUMN: std::ops::RangeInclusive<i32> = 6..=26;

/// How far labels are apart.
const LABEL: i32 = 58;

/// Columns of months, quarters or years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    /// The first column, in units since year 0.
    first: i32,
    /// How many columns.
    pub(super) columns: i32,
    /// How many months a column has.
    pub(super) unit: i32,
    /// How wide it is.
    pub(super) width: i32,
}

/// A label of the axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Tick {
    pub(super) x: i32,
    pub(super) label: String,
}

fn index(month: Month) -> i32 {
    month.since(Month::EPOCH) + 1970 * 12
}

impl Scale {
    /// The columns from a first to a last month.
    pub(super) fn of(first: Month, last: Month) -> Self {
        let columns = |unit: i32| index(last) / unit - index(first) / unit + 1;
        let unit = [1, 3, 12, 60].into_iter().find(|&unit| columns(unit) <= COLUMNS_MAX);
        let unit = unit.unwrap_or(120);
        let columns = columns(unit).max(1);
        let width = (WIDTH / columns).clamp(*COLUMN.start(), *COLUMN.end());
        Self { first: index(first) / unit, columns, unit, width }
    }

    /// The column of a month.
    pub(super) fn column(&self, month: Month) -> i32 {
        index(month) / self.unit - self.first
    }

    /// What a column is called.
    pub(super) fn label(&self, column: i32) -> String {
        let month = (self.first + column) * self.unit;
        let (year, number) = (month / 12, month % 12);
        match self.unit {
            1 => format!("{year:04}-{:02}", number + 1),
            3 => format!("{year:04} Q{}", number / 3 + 1),
            12 => format!("{year:04}"),
            unit => format!("{year:04} to {:04}", year + unit / 12 - 1),
        }
    }

    /// What a column is.
    pub(super) fn a_unit(&self) -> &'static str {
        match self.unit {
            1 => "a month",
            3 => "a quarter",
            12 => "a year",
            60 => "five years",
            _ => "ten years",
        }
    }

    /// Labels that do not run into each other, at the beginnings of years where there are some.
    pub(super) fn ticks(&self, width: f64) -> Vec<Tick> {
        let mut ticks: Vec<Tick> = Vec::new();
        let per_year = (12 / self.unit).max(1);
        let begins_year = |column: &i32| (self.first + column) % per_year == 0;
        let years: Vec<i32> = (0..self.columns).filter(begins_year).collect();
        // A store of a few months has hardly one.
        let by_year = years.len() > 2;
        let columns = if by_year { years } else { (0..self.columns).collect() };
        for column in columns {
            #[expect(clippy::cast_possible_truncation, reason = "pixels")]
            let x = (f64::from(column) * width) as i32;
            if ticks.last().is_some_and(|last| x - last.x < LABEL) {
                continue;
            }
            let month = (self.first + column) * self.unit;
            let label = if by_year { format!("{:04}", month / 12) } else { self.label(column) };
            ticks.push(Tick { x, label });
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(first: &str, last: &str) -> Scale {
        Scale::of(first.parse().expect("a month"), last.parse().expect("a month"))
    }

    #[test]
    fn columns_hold_as_much_as_leaves_them_wide() {
        let two_years = scale("2025-01", "2026-12");
        assert_eq!((two_years.columns, two_years.unit, two_years.width), (24, 1, 26));
        assert_eq!(two_years.label(23), "2026-12");
        let git = scale("2005-04", "2027-02");
        assert_eq!((git.unit, git.label(0), git.columns), (3, "2005 Q2".to_owned(), 88));
        assert_eq!(scale("1950-01", "2026-12").unit, 12);
        let all = scale("1900-01", "2999-12");
        assert_eq!((all.unit, all.columns, all.label(0)), (120, 110, "1900 to 1909".to_owned()));
    }

    #[test]
    fn labels_do_not_meet() {
        for (first, last) in
            [("2026-11", "2026-11"), ("2005-04", "2027-02"), ("2020-01", "2026-12")]
        {
            let scale = scale(first, last);
            let ticks = scale.ticks(f64::from(scale.width));
            assert!(!ticks.is_empty());
            assert!(ticks.windows(2).all(|pair| pair[1].x - pair[0].x >= LABEL));
        }
    }
}
