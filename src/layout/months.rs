//! Which months the branches of a store should have.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};

use super::month::Month;

/// The most months that one command makes, counted from its first to its last.
pub const MONTHS_MAX: i32 = 2400;

/// Months that lie before a hole of more missing months than this are history: they were imported
/// or restored, and nobody misses what lies between them and the present.
pub const HISTORY_GAP: i32 = 12;

/// The months that branches divided by month should have.
///
/// Every branch reaches from the beginning of its present to the last month, so that gaps are
/// filled. Its present begins with the current month, or with the first one that is asked for;
/// months before belong to it as long as no hole between them is longer than [`HISTORY_GAP`].
/// Beside that a branch has what its context [needs](Needs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Months {
    begin: Month,
    last: Month,
    needs: Needs,
}

impl Months {
    /// From the current month (or `from`, if that is earlier) to `ahead` months after the current
    /// one.
    pub fn new(current: Month, ahead: u32, from: Option<Month>) -> Result<Self> {
        let last = current.plus(i32::try_from(ahead).unwrap_or(i32::MAX));
        let begin = from.map_or(current, |from| from.min(current));
        refuse_too_many(begin, last)?;
        // The last month stops at the end of the calendar, whatever was asked for.
        if i64::from(ahead) >= i64::from(MONTHS_MAX) {
            return Err(too_many(begin, last));
        }
        Ok(Self { begin, last, needs: Needs::default() })
    }

    /// No month at all: a table divided by month has no partition then.
    #[must_use]
    pub fn none() -> Self {
        Self { begin: Month::EPOCH.plus(1), last: Month::EPOCH, needs: Needs::default() }
    }

    /// These, and what is needed beside them.
    pub fn needing(self, needs: &Needs) -> Result<Self> {
        if let Some((first, last)) = needs.range(None) {
            refuse_too_many(first, last)?;
        }
        Ok(Self { needs: needs.clone(), ..self })
    }

    /// Those that a branch should have which has these; `context` is the one whose events it
    /// holds, none where the layout does not divide by context. Months that have left it for an
    /// archive are no gaps: only what is needed brings them back.
    #[must_use]
    pub fn of_branch(
        &self,
        context: Option<&str>,
        there: &BTreeSet<Month>,
        gone: &BTreeSet<Month>,
    ) -> BTreeSet<Month> {
        let mut wanted = filled(&self.needs.months(context));
        // What is needed shortly before the present connects to it, as if it were there.
        let first = present(self.begin, &(there | &wanted));
        let is_gone = |month: &Month| gone.contains(month) && !there.contains(month);
        wanted.extend(first.through(self.last).filter(|month| !is_gone(month)));
        wanted
    }
}

/// These months and the holes between them, but for those of more than [`HISTORY_GAP`] months: one
/// wrong time would make hundreds of empty partitions.
fn filled(months: &BTreeSet<Month>) -> BTreeSet<Month> {
    let mut all = months.clone();
    for (&month, &next) in months.iter().zip(months.iter().skip(1)) {
        if next.since(month) - 1 <= HISTORY_GAP {
            all.extend(month.through(next));
        }
    }
    all
}

/// The month with which the present begins: the earliest that is reached from `begin` backwards
/// without a hole of more than [`HISTORY_GAP`] months.
fn present(begin: Month, there: &BTreeSet<Month>) -> Month {
    let mut first = begin;
    for &month in there.range(..begin).rev() {
        let missing = first.since(month) - 1;
        if missing > HISTORY_GAP {
            break;
        }
        first = month;
    }
    first
}

fn refuse_too_many(first: Month, last: Month) -> Result<()> {
    if last.since(first) < MONTHS_MAX { Ok(()) } else { Err(too_many(first, last)) }
}

fn too_many(first: Month, last: Month) -> Error {
    Error::invalid(format!("{first} to {last} are too many months"))
        .hint(format!("one command makes at most {MONTHS_MAX} months"))
}

/// The contexts and months that events need which are to be stored, for example those of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    contexts: BTreeMap<String, BTreeSet<Month>>,
}

impl Needs {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An event of this context and month; no month when it lies outside of those that can be
    /// partitions.
    pub fn insert(&mut self, context: &str, month: Option<Month>) {
        self.contexts.entry(context.to_owned()).or_default().extend(month);
    }

    /// The contexts.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.contexts.keys().map(String::as_str)
    }

    /// The months of a context, or of all.
    fn months(&self, context: Option<&str>) -> BTreeSet<Month> {
        let of = |name: &str| context.is_none_or(|context| context == name);
        let contexts = self.contexts.iter().filter(|(name, _)| of(name));
        contexts.flat_map(|(_, months)| months).copied().collect()
    }

    /// The first and the last month of a context, or of all.
    #[must_use]
    pub fn range(&self, context: Option<&str>) -> Option<(Month, Month)> {
        let months = self.months(context);
        Some((*months.first()?, *months.last()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().expect("a month")
    }

    fn months(ahead: u32, from: Option<&str>) -> Result<Months> {
        Months::new(month("2026-11"), ahead, from.map(month))
    }

    /// What a branch should have that has these, in ranges.
    fn wanted(months: &Months, context: Option<&str>, there: &[&str]) -> String {
        let there = there.iter().map(|text| month(text)).collect();
        let mut ranges: Vec<(Month, Month)> = Vec::new();
        for month in months.of_branch(context, &there, &BTreeSet::new()) {
            match ranges.last_mut() {
                Some((_, last)) if last.plus(1) == month => *last = month,
                _ => ranges.push((month, month)),
            }
        }
        let text = |(first, last): &(Month, Month)| format!("{first}..{last}");
        ranges.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_branch_reaches_back_to_its_own_earliest_month() {
        let plain = months(1, None).expect("months");
        assert_eq!(wanted(&plain, None, &[]), "2026-11..2026-12");
        assert_eq!(wanted(&plain, None, &["2026-08"]), "2026-08..2026-12");
        // Those to come are no reason for more.
        assert_eq!(wanted(&plain, None, &["2027-03"]), "2026-11..2026-12");
        let since = months(1, Some("2026-09")).expect("months");
        assert_eq!(wanted(&since, None, &[]), "2026-09..2026-12");
        // A start in the future never leaves out the current month.
        let future = months(1, Some("2027-05")).expect("months");
        assert_eq!(wanted(&future, None, &[]), "2026-11..2026-12");
    }

    #[test]
    fn a_hole_of_twelve_months_is_filled_and_one_of_thirteen_is_not() {
        let plain = months(0, None).expect("months");
        assert_eq!(wanted(&plain, None, &["2025-10"]), "2025-10..2026-11");
        assert_eq!(wanted(&plain, None, &["2025-09"]), "2026-11..2026-11");
        // Step by step, and what lies before the hole is not looked at.
        let there = ["2005-04", "2005-06", "2023-09", "2024-10", "2025-11"];
        assert_eq!(wanted(&plain, None, &there), "2023-09..2026-11");
        // Unless it is asked for, from the first month or from one that is near to it.
        let since = months(0, Some("2005-08")).expect("months");
        assert_eq!(wanted(&since, None, &there), "2005-04..2026-11");
    }

    #[test]
    fn needs_are_met_without_short_holes_and_apart_from_the_present() {
        let mut needs = Needs::new();
        for (context, text) in [("A", "2005-04"), ("A", "2005-07"), ("B", "2026-01")] {
            needs.insert(context, Some(month(text)));
        }
        let needing = months(0, None).and_then(|months| months.needing(&needs)).expect("months");
        let a = wanted(&needing, Some("A"), &[]);
        assert_eq!(a, "2005-04..2005-07 2026-11..2026-11");
        assert_eq!(wanted(&needing, Some("B"), &[]), "2026-01..2026-11");
        assert_eq!(wanted(&needing, Some("C"), &["2026-10"]), "2026-10..2026-11");
        assert_eq!(wanted(&needing, None, &[]), "2005-04..2005-07 2026-01..2026-11");
        // What is needed closes a hole, and so joins history to the present.
        let there = ["2024-12"];
        assert_eq!(wanted(&needing, Some("B"), &there), "2024-12..2026-11");
        // A hole of thirteen months stays one.
        for (text, expected) in [("2004-03", "2004-03..2005-07"), ("2002-01", "2002-01..2002-01")] {
            needs.insert("A", Some(month(text)));
            let needing = needing.clone().needing(&needs).expect("months");
            let first = wanted(&needing, Some("A"), &[]);
            assert_eq!(first.split(' ').next(), Some(expected));
        }
        // What is to come may be needed too.
        needs.insert("C", Some(month("2027-02")));
        let needing = needing.needing(&needs).expect("months");
        assert_eq!(wanted(&needing, Some("C"), &[]), "2026-11..2026-11 2027-02..2027-02");
    }

    #[test]
    fn none_are_none() {
        assert_eq!(wanted(&Months::none(), None, &[]), "");
    }

    #[test]
    fn too_many_months_are_refused() {
        assert!(months(3, Some("1900-01")).is_ok());
        assert!(months(2400, None).is_err());
        assert!(months(u32::MAX, None).is_err());
        let mut needs = Needs::new();
        needs.insert("A", Some(month("1900-01")));
        let plain = months(0, None).expect("months");
        assert!(plain.clone().needing(&needs).is_ok());
        needs.insert("B", Some(month("2999-12")));
        let error = plain.needing(&needs).expect_err("eleven centuries");
        assert_eq!(error.message(), "1900-01 to 2999-12 are too many months");
    }
}
