//! Why an append was refused.

use std::fmt;

use uuid::Uuid;

use crate::error::{Error, Kind};

use super::stream::ExpectedVersion;

/// Why nothing was appended.
///
/// What pupctl finds itself leaves a transaction usable: the bad input, and a conflict whose
/// `actual` version the statement saw. What the server refuses ends the transaction, as always in
/// PostgreSQL.
#[derive(Debug)]
#[non_exhaustive]
pub enum AppendError {
    /// The aggregate is not at the expected version, or another writer took the version first.
    /// Read the aggregate again, decide again, append again.
    ConcurrencyConflict {
        /// What the writer expected.
        expected: ExpectedVersion,
        /// The version at which the aggregate is. None when another writer was faster, whose
        /// version this statement could not see yet.
        actual: Option<i64>,
    },
    /// Another event has this id. Whoever appends with [`ExpectedVersion::Any`] again, because an
    /// answer got lost, learns here that it had been appended; with a version it is a conflict.
    DuplicateEvent {
        /// The id, where the server tells it.
        event_id: Option<Uuid>,
    },
    /// There are no events to append.
    NoEvents,
    /// The event of this number, from 0, belongs to another aggregate than the first.
    SeveralAggregates {
        /// Which one.
        event: usize,
    },
    /// No aggregate is at a version below 0.
    NegativeVersion {
        /// What was expected.
        expected: i64,
    },
    /// The last version would be larger than a `bigint`.
    VersionOverflow {
        /// What was expected.
        expected: i64,
        /// How many events.
        events: usize,
    },
    /// The payloads are larger than PostgreSQL takes in one statement.
    PayloadTooLarge {
        /// All payloads together.
        bytes: usize,
        /// What they may have.
        limit: usize,
    },
    /// The server refused it for another reason, or could not be reached.
    Database(Error),
}

impl AppendError {
    /// Whether reading the aggregate again and appending again may help.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::ConcurrencyConflict { .. })
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConcurrencyConflict { expected, actual: Some(actual) } => {
                write!(formatter, "expected {expected}, but the aggregate is at version {actual}")
            }
            Self::ConcurrencyConflict { expected, actual: None } => {
                write!(formatter, "expected {expected}, but another writer was faster")
            }
            Self::DuplicateEvent { event_id: Some(id) } => {
                write!(formatter, "there is an event with the id {id} already")
            }
            Self::DuplicateEvent { event_id: None } => {
                formatter.write_str("there is an event with one of the ids already")
            }
            Self::NoEvents => formatter.write_str("there are no events to append"),
            Self::SeveralAggregates { event } => {
                write!(formatter, "event {event} belongs to another aggregate than the first")
            }
            Self::NegativeVersion { expected } => {
                write!(formatter, "no aggregate is at version {expected}")
            }
            Self::VersionOverflow { expected, events } => {
                write!(formatter, "{events} events after version {expected} are too many")
            }
            Self::PayloadTooLarge { bytes, limit } => {
                write!(formatter, "the payloads have {bytes} bytes; the limit is {limit}")
            }
            Self::Database(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Database(error) => error.source(),
            _ => None,
        }
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        let (kind, hint) = match error {
            AppendError::Database(error) => return error,
            AppendError::ConcurrencyConflict { .. } => {
                (Kind::Refused, "read the aggregate again, decide again, append again")
            }
            AppendError::DuplicateEvent { .. } => {
                (Kind::Refused, "it may have been appended before: read the aggregate")
            }
            AppendError::NoEvents => (Kind::Invalid, "append at least one"),
            AppendError::SeveralAggregates { .. } => {
                (Kind::Invalid, "append the events of each aggregate by themselves")
            }
            AppendError::NegativeVersion { .. } | AppendError::VersionOverflow { .. } => {
                (Kind::Invalid, "expect the version that reading the aggregate gave")
            }
            AppendError::PayloadTooLarge { .. } => {
                (Kind::Invalid, "append fewer events at once, or keep large files elsewhere")
            }
        };
        Self::new(kind, error.to_string()).hint(hint)
    }
}
