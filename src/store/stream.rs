//! Which aggregate, and at which version it is expected.

use std::borrow::Cow;
use std::fmt;

/// An aggregate, whose events are a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId<'a> {
    /// The bounded context.
    pub bounded_context: Cow<'a, str>,
    /// The kind of the aggregate.
    pub aggregate_type: Cow<'a, str>,
    /// The aggregate within its kind.
    pub aggregate_id: Cow<'a, str>,
}

impl<'a> StreamId<'a> {
    /// The stream of an aggregate.
    pub fn new(
        bounded_context: impl Into<Cow<'a, str>>,
        aggregate_type: impl Into<Cow<'a, str>>,
        aggregate_id: impl Into<Cow<'a, str>>,
    ) -> Self {
        Self {
            bounded_context: bounded_context.into(),
            aggregate_type: aggregate_type.into(),
            aggregate_id: aggregate_id.into(),
        }
    }
}

/// In words: `Order 4711 in Sales`.
impl fmt::Display for StreamId<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bounded_context, aggregate_type, aggregate_id } = self;
        write!(formatter, "{aggregate_type} {aggregate_id} in {bounded_context}")
    }
}

/// The version that a writer has seen, and on which its events rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// Whatever it is. Two writers at once may still collide, and one of them gets
    /// [`AppendError::ConcurrencyConflict`](super::AppendError::ConcurrencyConflict): it appends
    /// once more.
    Any,
    /// The aggregate has no events yet.
    NoStream,
    /// The aggregate is at this version. 0 is the same as [`NoStream`](Self::NoStream).
    Exact(i64),
}

impl ExpectedVersion {
    /// The version as a number; none where any will do.
    pub(super) fn number(self) -> Option<i64> {
        match self {
            Self::Any => None,
            Self::NoStream => Some(0),
            Self::Exact(version) => Some(version),
        }
    }
}

/// In words: `version 5`.
impl fmt::Display for ExpectedVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => formatter.write_str("any version"),
            Self::NoStream | Self::Exact(0) => formatter.write_str("no events"),
            Self::Exact(version) => write!(formatter, "version {version}"),
        }
    }
}
