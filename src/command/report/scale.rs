//! Months side by side: as many in a column as leave the columns wide enough to be seen. Years in
//! which there is nothing are folded, as between imported history and the present.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::layout::month::Month;

/// How many columns there are at most.
const COLUMNS_MAX: i32 = 130;

/// How wide all columns are together, in pixels.
const WIDTH: i32 = 720;

/// How wide a column is.
const COLUMN: std::ops::RangeInclusive<i32> = 5..=26;

/// How far labels are apart.
const LABEL: i32 = 58;

/// Holes of more months than this are folded into one column.
const HOLE: i32 = 12;

/// Columns of months, quarters or years.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scale {
    /// The first and the last unit of each part that has no hole, in units since year 0.
    parts: Vec<(i32, i32)>,
    /// How many columns, with one for each hole.
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

/// The parts of months that lie together.
fn parts(months: &BTreeSet<Month>, unit: i32) -> Vec<(i32, i32)> {
    let mut parts: Vec<(i32, i32)> = Vec::new();
    for month in months {
        let at = index(*month) / unit;
        match parts.last_mut() {
            Some((_, last)) if (at - *last - 1) * unit <= HOLE => *last = at,
            _ => parts.push((at, at)),
        }
    }
    parts
}

fn columns(parts: &[(i32, i32)]) -> i32 {
    let holes = i32::try_from(parts.len()).unwrap_or(i32::MAX).saturating_sub(1);
    parts.iter().map(|(first, last)| last - first + 1).sum::<i32>() + holes
}

impl Scale {
    /// The columns of these months; none where there are none.
    pub(super) fn of(months: &BTreeSet<Month>) -> Option<Self> {
        let fits = |unit: &i32| columns(&parts(months, *unit)) <= COLUMNS_MAX;
        let unit = [1, 3, 12, 60].into_iter().find(fits).unwrap_or(120);
        let parts = parts(months, unit);
        let columns = columns(&parts);
        if columns <= 0 {
            return None;
        }
        let width = (WIDTH / columns).clamp(*COLUMN.start(), *COLUMN.end());
        Some(Self { parts, columns, unit, width })
    }

    /// Each part, with the column in which it begins.
    fn offsets(&self) -> impl Iterator<Item = (i32, (i32, i32))> + '_ {
        self.parts.iter().scan(0, |next, &(first, last)| {
            let begin = *next;
            *next = begin + last - first + 2;
            Some((begin, (first, last)))
        })
    }

    /// The column of a month, where it has one.
    pub(super) fn column(&self, month: Month) -> Option<i32> {
        let at = index(month) / self.unit;
        let of =
            |(begin, (first, last))| (first..=last).contains(&at).then_some(begin + at - first);
        self.offsets().find_map(of)
    }

    /// The unit of a column, which a hole does not have.
    fn unit_at(&self, column: i32) -> Option<i32> {
        let of = |(begin, (first, last))| {
            let at = first + column - begin;
            (column >= begin && at <= last).then_some(at)
        };
        self.offsets().find_map(of)
    }

    /// What a column is called.
    pub(super) fn label(&self, column: i32) -> String {
        let Some(at) = self.unit_at(column) else { return "…".to_owned() };
        let month = at * self.unit;
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

    /// The holes, as columns.
    pub(super) fn holes(&self) -> Vec<i32> {
        self.offsets().skip(1).map(|(begin, _)| begin - 1).collect()
    }

    /// Labels that do not run into each other, at the beginnings of years where there are some; the
    /// columns are so wide.
    pub(super) fn ticks(&self, width: f64) -> Vec<Tick> {
        let per_year = (12 / self.unit).max(1);
        let begins = |column: &i32| self.unit_at(*column).is_some_and(|at| at % per_year == 0);
        let years: Vec<i32> = (0..self.columns).filter(begins).collect();
        // A store of a few months has hardly one.
        let by_year = years.len() > 2;
        let columns = if by_year { years } else { (0..self.columns).collect() };
        let mut ticks: Vec<Tick> = Vec::new();
        for column in columns {
            #[expect(clippy::cast_possible_truncation, reason = "pixels")]
            let x = (f64::from(column) * width) as i32;
            let Some(at) = self.unit_at(column) else { continue };
            if ticks.last().is_some_and(|last| x - last.x < LABEL) {
                continue;
            }
            let year = at * self.unit / 12;
            ticks.push(Tick {
                x,
                label: if by_year { format!("{year:04}") } else { self.label(column) },
            });
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(ranges: &[(&str, &str)]) -> Scale {
        let month = |text: &str| text.parse::<Month>().expect("a month");
        let months = ranges.iter().flat_map(|(first, last)| month(first).through(month(last)));
        Scale::of(&months.collect()).expect("columns")
    }

    #[test]
    fn columns_hold_as_much_as_leaves_them_wide() {
        let two_years = scale(&[("2025-01", "2026-12")]);
        assert_eq!((two_years.columns, two_years.unit, two_years.width), (24, 1, 26));
        assert_eq!(two_years.label(23), "2026-12");
        let quarters = scale(&[("2005-04", "2027-02")]);
        assert_eq!((quarters.unit, quarters.columns), (3, 88));
        assert_eq!(quarters.label(0), "2005 Q2");
        assert_eq!(scale(&[("1950-01", "2026-12")]).unit, 12);
        let all = scale(&[("1900-01", "2999-12")]);
        assert_eq!((all.unit, all.columns, all.label(0)), (120, 110, "1900 to 1909".to_owned()));
        assert_eq!(Scale::of(&BTreeSet::new()), None);
    }

    #[test]
    fn a_long_hole_is_one_column() {
        let git = scale(&[("2005-04", "2015-05"), ("2026-11", "2027-02")]);
        assert_eq!((git.unit, git.columns, git.holes()), (1, 122 + 1 + 4, vec![122]));
        assert_eq!(git.column("2026-11".parse().expect("a month")), Some(123));
        assert_eq!(git.column("2020-01".parse().expect("a month")), None);
        assert_eq!(
            (git.label(121), git.label(122), git.label(123)),
            ("2015-05".to_owned(), "…".to_owned(), "2026-11".to_owned())
        );
        // A short one is seen as what it is.
        assert_eq!(scale(&[("2025-01", "2025-02"), ("2026-03", "2026-04")]).columns, 16);
    }

    #[test]
    fn labels_do_not_meet() {
        for range in [("2026-11", "2026-11"), ("2005-04", "2027-02"), ("2020-01", "2026-12")] {
            let scale = scale(&[range]);
            let ticks = scale.ticks(f64::from(scale.width));
            assert!(!ticks.is_empty());
            assert!(ticks.windows(2).all(|pair| pair[1].x - pair[0].x >= LABEL));
        }
    }
}
