//! Bounds of partitions: what pupctl compares, since partitions are owned by their bounds and
//! never by their names.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use super::month::Month;

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edge {
    /// `MINVALUE`.
    Min,
    /// An instant.
    At(DateTime<Utc>),
    /// `MAXVALUE`.
    Max,
}

/// What a partition holds, as `FOR VALUES …` says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bound {
    /// `IN (…)`; `None` stands for NULL.
    List(Vec<Option<String>>),
    /// `FROM (…) TO (…)` on one column of type `timestamptz`.
    Range {
        /// Inclusive.
        from: Edge,
        /// Exclusive.
        to: Edge,
    },
    /// `WITH (MODULUS …, REMAINDER …)`.
    Hash {
        /// Into how many shares the hash is divided.
        modulus: u32,
        /// Which of them this is.
        remainder: u32,
    },
    /// `DEFAULT`.
    Default,
    /// Anything that pupctl's layouts do not know, as PostgreSQL prints it.
    Other(String),
}

impl Bound {
    /// The partition of one context.
    pub fn context(name: impl Into<String>) -> Self {
        Self::List(vec![Some(name.into())])
    }

    /// The partition of one month.
    #[must_use]
    pub fn month(month: Month) -> Self {
        Self::Range { from: Edge::At(month.start()), to: Edge::At(month.end()) }
    }

    /// The month, when the bound is exactly one.
    #[must_use]
    pub fn as_month(&self) -> Option<Month> {
        let Self::Range { from: Edge::At(from), to: Edge::At(to) } = self else { return None };
        Month::starting_at(*from).filter(|month| month.end() == *to)
    }

    /// The partition of all months before one, as a table has it that was attached as it was.
    #[must_use]
    pub fn history(before: Month) -> Self {
        Self::Range { from: Edge::Min, to: Edge::At(before.start()) }
    }

    /// The first month that it does not hold, when the bound is all months before one.
    #[must_use]
    pub fn as_history(&self) -> Option<Month> {
        let Self::Range { from: Edge::Min, to: Edge::At(to) } = self else { return None };
        Month::starting_at(*to)
    }

    /// The first month that it holds and the first that it does not, when the bound is whole months
    /// with a first one.
    #[must_use]
    pub fn as_months(&self) -> Option<(Month, Month)> {
        let Self::Range { from: Edge::At(from), to: Edge::At(to) } = self else { return None };
        Some((Month::starting_at(*from)?, Month::starting_at(*to)?))
    }

    /// Whether it is a range of time.
    #[must_use]
    pub fn is_range(&self) -> bool {
        matches!(self, Self::Range { .. })
    }

    /// The context, when the bound is exactly one.
    #[must_use]
    pub fn as_context(&self) -> Option<&str> {
        match self {
            Self::List(values) => match values.as_slice() {
                [Some(value)] => Some(value),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether every row that `wanted` would hold goes to this partition already.
    #[must_use]
    pub fn covers(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::List(have), Self::List(want)) => want.iter().all(|value| have.contains(value)),
            (Self::Range { from, to }, Self::Range { from: first, to: last }) => {
                from <= first && last <= to
            }
            _ => self == wanted,
        }
    }

    /// Whether the server would refuse one beside the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(have), Self::List(want)) => want.iter().any(|value| have.contains(value)),
            (Self::Range { from, to }, Self::Range { from: first, to: last }) => {
                from < last && first < to
            }
            // Two shares of one hash meet where their remainders agree modulo the smaller of
            // the two moduli, which divides the larger (PostgreSQL insists on it).
            (
                Self::Hash { modulus, remainder },
                Self::Hash { modulus: other_modulus, remainder: other_remainder },
            ) => {
                let smaller = (*modulus).min(*other_modulus).max(1);
                remainder % smaller == other_remainder % smaller
            }
            (Self::Default, Self::Default) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Min => formatter.write_str("MINVALUE"),
            Self::At(instant) => {
                formatter.write_str(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            }
            Self::Max => formatter.write_str("MAXVALUE"),
        }
    }
}

/// For people: a month is its name, a context its name. Statements are rendered elsewhere.
impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(month) = self.as_month() {
            return write!(formatter, "{month}");
        }
        if let Some(before) = self.as_history() {
            return write!(formatter, "before {before}");
        }
        match self {
            Self::List(values) => {
                let names: Vec<_> =
                    values.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
                formatter.write_str(&names.join(", "))
            }
            Self::Range { from, to } => write!(formatter, "{from} to {to}"),
            Self::Hash { modulus, remainder } => {
                write!(formatter, "hash {remainder} of {modulus}")
            }
            Self::Default => formatter.write_str("DEFAULT"),
            Self::Other(text) => formatter.write_str(text),
        }
    }
}

impl serde::Serialize for Bound {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Bound {
        Bound::month(text.parse().expect("a month"))
    }

    #[test]
    fn a_wide_range_covers_its_months() {
        let wide = Bound::Range { from: Edge::Min, to: month_edge("2026-03") };
        assert!(wide.covers(&month("2026-02")));
        assert!(!wide.covers(&month("2026-03")));
        assert!(wide.overlaps(&month("2026-02")));
        assert!(!wide.overlaps(&month("2026-03")));
        assert_eq!(wide.as_month(), None);
    }

    #[test]
    fn history_is_all_months_before_one() {
        let before: Month = "2026-03".parse().expect("a month");
        let history = Bound::history(before);
        assert_eq!(history.as_history(), Some(before));
        assert_eq!(history.to_string(), "before 2026-03");
        assert_eq!(history.as_months(), None);
        let late = Edge::At(before.start() + chrono::TimeDelta::days(1));
        assert_eq!(Bound::Range { from: Edge::Min, to: late }.as_history(), None);
        assert_eq!(month("2026-03").as_history(), None);
        let quarter = Bound::Range { from: month_edge("2026-01"), to: month_edge("2026-04") };
        let ends = ["2026-01", "2026-04"].map(|text| text.parse().expect("a month"));
        assert_eq!(quarter.as_months(), Some((ends[0], ends[1])));
    }

    fn month_edge(text: &str) -> Edge {
        let month: Month = text.parse().expect("a month");
        Edge::At(month.start())
    }

    #[test]
    fn hash_shares_meet_by_remainder() {
        let share = |modulus, remainder| Bound::Hash { modulus, remainder };
        assert!(share(4, 1).overlaps(&share(8, 5)));
        assert!(!share(4, 1).overlaps(&share(8, 6)));
        assert!(!share(4, 1).overlaps(&share(4, 2)));
    }

    #[test]
    fn people_read_months_and_contexts() {
        assert_eq!(month("2026-02").to_string(), "2026-02");
        assert_eq!(Bound::context("Identity").to_string(), "Identity");
        assert_eq!(Bound::Hash { modulus: 16, remainder: 3 }.to_string(), "hash 3 of 16");
    }
}
