//! Where a leaf belongs: the bounds that lead to it from the root down.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::bounds::{Bound, Edge};
use super::month::Month;

/// The bounds from the root down to a leaf; empty for a table that is not partitioned.
///
/// People read `Billing/2026-01`, machines a list of bounds; both outlive the tables that they
/// speak of, in manifests and in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Step>", into = "Vec<Step>")]
pub struct Place(Vec<Bound>);

impl Place {
    /// The place to which these bounds lead.
    #[must_use]
    pub fn new(bounds: Vec<Bound>) -> Self {
        Self(bounds)
    }

    /// The bounds, from the root down.
    #[must_use]
    pub fn bounds(&self) -> &[Bound] {
        &self.0
    }

    /// The place of a partition of the table that lies here.
    #[must_use]
    pub fn below(&self, bound: Bound) -> Self {
        Self([self.0.as_slice(), &[bound]].concat())
    }

    /// The place of the parent, and the bound in it; none for the root.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &Bound)> {
        let (last, parents) = self.0.split_last()?;
        Some((Self(parents.to_vec()), last))
    }

    /// The context, where a level says which it is.
    #[must_use]
    pub fn context(&self) -> Option<&str> {
        self.0.iter().find_map(Bound::as_context)
    }

    /// The month, where a level says which it is.
    #[must_use]
    pub fn month(&self) -> Option<Month> {
        self.0.iter().find_map(Bound::as_month)
    }

    /// The first month after it, where a level says that it holds all months before one.
    #[must_use]
    pub fn history(&self) -> Option<Month> {
        self.0.iter().find_map(Bound::as_history)
    }

    /// Whether pupctl's layouts have places like this one.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.0.iter().any(|bound| matches!(bound, Bound::Other(_)))
    }
}

/// `Billing/2026-01`; the root is `everything`.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("everything");
        }
        for (position, bound) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str("/")?;
            }
            write!(formatter, "{bound}")?;
        }
        Ok(())
    }
}

/// A bound as it is stored. A range has an end of `null` for MINVALUE or MAXVALUE.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    List(Vec<Option<String>>),
    Range { from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>> },
    Hash { modulus: u32, remainder: u32 },
    Default,
    Other(String),
}

impl From<Place> for Vec<Step> {
    fn from(place: Place) -> Self {
        let instant = |edge| match edge {
            Edge::At(instant) => Some(instant),
            Edge::Min | Edge::Max => None,
        };
        let step = |bound| match bound {
            Bound::List(values) => Step::List(values),
            Bound::Range { from, to } => Step::Range { from: instant(from), to: instant(to) },
            Bound::Hash { modulus, remainder } => Step::Hash { modulus, remainder },
            Bound::Default => Step::Default,
            Bound::Other(text) => Step::Other(text),
        };
        place.0.into_iter().map(step).collect()
    }
}

impl From<Vec<Step>> for Place {
    fn from(steps: Vec<Step>) -> Self {
        let bound = |step| match step {
            Step::List(values) => Bound::List(values),
            Step::Range { from, to } => Bound::Range {
                from: from.map_or(Edge::Min, Edge::At),
                to: to.map_or(Edge::Max, Edge::At),
            },
            Step::Hash { modulus, remainder } => Bound::Hash { modulus, remainder },
            Step::Default => Bound::Default,
            Step::Other(text) => Bound::Other(text),
        };
        Self(steps.into_iter().map(bound).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_stored_and_read_as_it_was() {
        let month = Bound::month("2026-01".parse().expect("a month"));
        let open = Bound::Range { from: Edge::Min, to: Edge::Max };
        let bounds = vec![
            Bound::context("O'Neill/\"x\""),
            month,
            Bound::Hash { modulus: 16, remainder: 3 },
            open,
            Bound::Default,
        ];
        let place = Place::new(bounds);
        let json = serde_json::to_value(&place).expect("JSON");
        assert_eq!(serde_json::from_value::<Place>(json).expect("a place"), place);
        assert_eq!(place.context(), Some("O'Neill/\"x\""));
        assert_eq!(place.month(), Some("2026-01".parse().expect("a month")));
    }

    #[test]
    fn people_read_a_path() {
        let month = Bound::month("2026-01".parse().expect("a month"));
        assert_eq!(
            Place::default().below(Bound::context("A")).below(month).to_string(),
            "A/2026-01"
        );
        assert_eq!(Place::default().to_string(), "everything");
        let history = Place::default()
            .below(Bound::context("A"))
            .below(Bound::history("2026-12".parse().expect("a month")));
        assert_eq!(history.to_string(), "A/before 2026-12");
        let json = serde_json::to_value(&history).expect("JSON");
        assert_eq!(serde_json::from_value::<Place>(json).expect("a place"), history);
    }
}
