//! The levels of a layout, and the seven combinations that `--partition-by` takes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most shares that a hash level may have. Every read that does not name the hash columns
/// opens all of them.
pub const HASH_PARTITIONS_MAX: u32 = 1024;

/// The columns that identify an aggregate: the key of `aggregate_heads`, and all that a hash
/// level may use, so that the key of `events` can stay on the parent.
pub const AGGREGATE_COLUMNS: [&str; 3] = ["bounded_context", "aggregate_type", "aggregate_id"];

/// One level of partitioning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// `LIST (bounded_context)`, one partition a context.
    Context,
    /// `HASH (columns)`.
    Hash(HashLevel),
    /// `RANGE (created_at)`, one partition a month in UTC.
    Month,
}

/// A hash level: over which columns, into how many shares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashLevel {
    /// A part of [`AGGREGATE_COLUMNS`].
    pub columns: Vec<String>,
    /// How many partitions.
    pub partitions: u32,
}

impl HashLevel {
    /// Checks columns and number. `below_context` leaves out `bounded_context`, which has one
    /// value there.
    pub fn new(columns: Option<&[String]>, partitions: u32, below_context: bool) -> Result<Self> {
        let allowed = &AGGREGATE_COLUMNS[usize::from(below_context)..];
        let columns: Vec<String> = match columns {
            Some(columns) => columns.to_vec(),
            None => allowed.iter().map(|&column| column.to_owned()).collect(),
        };
        if columns.is_empty() {
            return Err(Error::invalid("a hash level without columns")
                .hint(format!("name one or more of {}", allowed.join(", "))));
        }
        for (position, column) in columns.iter().enumerate() {
            if !allowed.contains(&column.as_str()) {
                return Err(Error::invalid(format!("`{column}` cannot be a hash column here"))
                    .hint(format!(
                        "name one or more of {}: the key of an event must contain them",
                        allowed.join(", ")
                    )));
            }
            if columns[..position].contains(column) {
                return Err(Error::invalid(format!("the hash column `{column}` is named twice")));
            }
        }
        if !(2..=HASH_PARTITIONS_MAX).contains(&partitions) {
            return Err(Error::invalid(format!(
                "a hash level cannot have {partitions} partitions"
            ))
            .hint(format!("choose from 2 to {HASH_PARTITIONS_MAX}")));
        }
        Ok(Self { columns, partitions })
    }
}

impl Level {
    /// The key as `pg_get_partkeydef` prints it for pupctl's columns, which need no quotes.
    #[must_use]
    pub fn partition_key(&self) -> String {
        match self {
            Self::Context => "LIST (bounded_context)".to_owned(),
            Self::Hash(hash) => format!("HASH ({})", hash.columns.join(", ")),
            Self::Month => "RANGE (created_at)".to_owned(),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context => formatter.write_str("context"),
            Self::Hash(hash) => {
                write!(formatter, "hash({}; {})", hash.columns.join(", "), hash.partitions)
            }
            Self::Month => formatter.write_str("month"),
        }
    }
}

/// Refuses levels that no layout has, and hash levels with impossible settings: a stored layout
/// may have been changed by hand.
pub(super) fn validate(levels: &[Level]) -> Result<()> {
    match levels {
        []
        | [_]
        | [Level::Context, Level::Hash(_) | Level::Month]
        | [Level::Hash(_), Level::Month] => {}
        _ => {
            let words: Vec<_> = levels.iter().map(ToString::to_string).collect();
            let choices = PartitionBy::ALL.map(PartitionBy::as_str).join(" | ");
            return Err(Error::invalid(format!("there is no layout {}", words.join(", then ")))
                .hint(format!("choose one of {choices}")));
        }
    }
    for (position, level) in levels.iter().enumerate() {
        if let Level::Hash(hash) = level {
            HashLevel::new(Some(&hash.columns), hash.partitions, position > 0)?;
        }
    }
    Ok(())
}

/// What `--partition-by` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionBy {
    /// One table.
    None,
    /// By bounded context.
    Context,
    /// By a hash of the aggregate.
    Hash,
    /// By the month of `created_at`.
    Month,
    /// By context, then by hash.
    ContextHash,
    /// By context, then by month.
    ContextMonth,
    /// By hash, then by month.
    HashMonth,
}

impl PartitionBy {
    /// All seven, in the order of the help text.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Context,
        Self::Hash,
        Self::Month,
        Self::ContextHash,
        Self::ContextMonth,
        Self::HashMonth,
    ];

    /// As the user writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Context => "context",
            Self::Hash => "hash",
            Self::Month => "month",
            Self::ContextHash => "context,hash",
            Self::ContextMonth => "context,month",
            Self::HashMonth => "hash,month",
        }
    }

    /// The levels, with these settings for the hash level if there is one.
    pub fn levels(self, columns: Option<&[String]>, partitions: u32) -> Result<Vec<Level>> {
        let hash =
            |below_context| HashLevel::new(columns, partitions, below_context).map(Level::Hash);
        Ok(match self {
            Self::None => vec![],
            Self::Context => vec![Level::Context],
            Self::Hash => vec![hash(false)?],
            Self::Month => vec![Level::Month],
            Self::ContextHash => vec![Level::Context, hash(true)?],
            Self::ContextMonth => vec![Level::Context, Level::Month],
            Self::HashMonth => vec![hash(false)?, Level::Month],
        })
    }
}

impl fmt::Display for PartitionBy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for PartitionBy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain: String = text.split(',').map(str::trim).collect::<Vec<_>>().join(",");
        Self::ALL.into_iter().find(|choice| choice.as_str() == plain).ok_or_else(|| {
            let choices: Vec<_> = Self::ALL.iter().map(|choice| choice.as_str()).collect();
            Error::invalid(format!("`{text}` is not a way to partition"))
                .hint(format!("choose one of {}", choices.join(" | ")))
        })
    }
}

/// How one context is divided below a context level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondLevel {
    /// One leaf.
    None,
    /// By a hash of the aggregate.
    Hash,
    /// By the month of `created_at`.
    Month,
}

impl SecondLevel {
    /// The levels below the context.
    pub fn levels(self, columns: Option<&[String]>, partitions: u32) -> Result<Vec<Level>> {
        Ok(match self {
            Self::None => vec![],
            Self::Hash => vec![Level::Hash(HashLevel::new(columns, partitions, true)?)],
            Self::Month => vec![Level::Month],
        })
    }
}

impl FromStr for SecondLevel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.trim() {
            "none" => Ok(Self::None),
            "hash" => Ok(Self::Hash),
            "month" => Ok(Self::Month),
            other => Err(Error::invalid(format!("`{other}` is not a way to divide a context"))
                .hint("choose one of none | hash | month")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_seven_are_read_back_as_written() {
        for choice in PartitionBy::ALL {
            assert_eq!(choice.as_str().parse::<PartitionBy>().ok(), Some(choice));
        }
        assert_eq!(
            " context , month ".parse::<PartitionBy>().ok(),
            Some(PartitionBy::ContextMonth)
        );
        let weekly = "weekly".parse::<PartitionBy>().expect_err("not a layout");
        assert_eq!(weekly.message(), "`weekly` is not a way to partition");
    }

    #[test]
    fn hash_columns_stay_within_the_aggregate() {
        let new = |list: &[&str], below_context| {
            let names: Vec<String> = list.iter().map(|&name| name.to_owned()).collect();
            HashLevel::new(Some(&names), 16, below_context)
        };
        assert!(new(&["aggregate_type"], false).is_ok());
        assert!(new(&["event_id"], false).is_err());
        assert!(new(&["bounded_context"], true).is_err());
        assert!(new(&["aggregate_id", "aggregate_id"], false).is_err());
        assert!(new(&[], false).is_err());
        assert!(HashLevel::new(None, 1, false).is_err());
        assert!(HashLevel::new(None, HASH_PARTITIONS_MAX + 1, false).is_err());
    }

    #[test]
    fn below_a_context_the_context_is_no_hash_column() {
        let levels = PartitionBy::ContextHash.levels(None, 8).expect("levels");
        assert_eq!(levels[1].partition_key(), "HASH (aggregate_type, aggregate_id)");
    }
}
