//! Appends events: one statement, whatever their number.

use postgres::error::DbError;
use postgres::{GenericClient, Row, Statement};
use uuid::Uuid;

use crate::error::Error;
use crate::event::model::COLUMNS;
use crate::layout::protection::{Guard, Trigger};
use crate::layout::{Layout, Role};
use crate::render::environment::{render, values};

use super::error::AppendError;
use super::event::{NewEvent, fields};
use super::stream::ExpectedVersion;
use super::{Result, Store, Values, failed, leaves, prepare};

/// The most bytes that the payloads of one append may have together. PostgreSQL takes messages of
/// 1 GiB; the rest is for the other fields.
pub const PAYLOAD_BYTES_MAX: usize = 1_000_000_000;

/// What was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The version of the first event.
    pub first_version: i64,
    /// The version of the last event, at which the aggregate is now.
    pub last_version: i64,
    /// The positions of the events, in their order. Others' events may lie between them.
    pub positions: Vec<i64>,
}

/// The statements that append.
#[derive(Debug)]
pub(super) struct Statements {
    /// For one event, without arrays: somewhat less work for the server.
    one: Expecting,
    /// For any number of events.
    many: Expecting,
    /// Whether they move the head; where the guard is, its trigger does.
    moves_head: bool,
}

/// With more partitions than this of the heads, a plan for all streams locks too much at every
/// append: all of them. Then it is planned for the values.
const HEADS_LEAVES_MAX: i64 = 32;

/// A statement that expects a version, and one that does not.
#[derive(Debug)]
struct Expecting {
    version: Statement,
    any: Statement,
}

impl Statements {
    pub(super) fn prepare(
        client: &mut impl GenericClient,
        schema: &str,
        layout: &Layout,
    ) -> Result<Self> {
        let heads = layout.table(schema, Role::Heads);
        let one_plan = leaves(client, &heads)? <= HEADS_LEAVES_MAX;
        let moves_head = layout.guard() == Guard::None;
        let mut statement = |many: bool, any: bool| {
            let values = values! {
                events => layout.table(schema, Role::Events),
                heads,
                columns => COLUMNS,
                fields => fields(),
                moves_head,
                one_plan,
                many,
                any,
            };
            prepare(client, &render("store/append", &values))
        };
        Ok(Self {
            one: Expecting { version: statement(false, false)?, any: statement(false, true)? },
            many: Expecting { version: statement(true, false)?, any: statement(true, true)? },
            moves_head,
        })
    }
}

impl Store {
    /// Appends events of one aggregate, in one round trip, if it is at the expected version.
    ///
    /// With a transaction the events are there when it commits; with the client itself, at once.
    /// All of them are appended or none. Other writers of the aggregate wait until the transaction
    /// ends, so a transaction that appends to several aggregates should take them in one order
    /// always.
    ///
    /// # Errors
    ///
    /// [`AppendError::ConcurrencyConflict`] when the aggregate is at another version. If that was
    /// visible when the statement began, its `actual` version is told and the transaction goes on;
    /// a race is lost on the server, which ends the transaction.
    ///
    /// In transactions above READ COMMITTED the server may end a race with a serialization failure
    /// instead: [`AppendError::Database`] with SQLSTATE 40001.
    pub fn append(
        &self,
        client: &mut impl GenericClient,
        expected: ExpectedVersion,
        events: &[NewEvent<'_>],
    ) -> Result<Appended, AppendError> {
        check(expected, events, self.payload_bytes_max)?;
        let row = match events {
            [event] => append_one(client, &self.append.one, expected, event),
            events => append_many(client, &self.append.many, expected, events),
        };
        let row = row.map_err(|error| self.append.refused(expected, error))?;
        appended(&row, expected)
    }
}

/// Finds what cannot be appended before anything is sent.
fn check(
    expected: ExpectedVersion,
    events: &[NewEvent<'_>],
    payload_bytes_max: usize,
) -> Result<(), AppendError> {
    let Some(first) = events.first() else { return Err(AppendError::NoEvents) };
    if let Some(event) = events.iter().position(|event| event.stream != first.stream) {
        return Err(AppendError::SeveralAggregates { event });
    }
    if let Some(expected) = expected.number() {
        if expected < 0 {
            return Err(AppendError::NegativeVersion { expected });
        }
        let count = i64::try_from(events.len()).ok();
        if count.and_then(|count| expected.checked_add(count)).is_none() {
            return Err(AppendError::VersionOverflow { expected, events: events.len() });
        }
    }
    let bytes = events.iter().fold(0, |sum: usize, event| sum.saturating_add(event.payload.len()));
    if bytes > payload_bytes_max {
        return Err(AppendError::PayloadTooLarge { bytes, limit: payload_bytes_max });
    }
    Ok(())
}

type Answer = Result<Row, postgres::Error>;

fn append_one(
    client: &mut impl GenericClient,
    statements: &Expecting,
    expected: ExpectedVersion,
    event: &NewEvent<'_>,
) -> Answer {
    let stream = &event.stream;
    let values: &Values<'_> = &[
        &stream.bounded_context,
        &stream.aggregate_type,
        &stream.aggregate_id,
        &expected.number(),
        &event.event_id,
        &event.event_type,
        &event.event_version,
        &&*event.payload,
        &event.trace_id,
        &event.correlation_id,
        &event.causation_id,
        &event.metadata,
        &event.created_at,
    ];
    client.query_one(statements.of(expected), values)
}

fn append_many(
    client: &mut impl GenericClient,
    statements: &Expecting,
    expected: ExpectedVersion,
    events: &[NewEvent<'_>],
) -> Answer {
    fn all<'a, T>(events: &'a [NewEvent<'a>], field: impl Fn(&'a NewEvent<'a>) -> T) -> Vec<T> {
        events.iter().map(field).collect()
    }
    let stream = &events[0].stream;
    let values: &Values<'_> = &[
        &stream.bounded_context,
        &stream.aggregate_type,
        &stream.aggregate_id,
        &expected.number(),
        &all(events, |event| event.event_id),
        &all(events, |event| &*event.event_type),
        &all(events, |event| event.event_version),
        &all(events, |event| &*event.payload),
        &all(events, |event| event.trace_id.as_deref()),
        &all(events, |event| event.correlation_id.as_deref()),
        &all(events, |event| event.causation_id.as_deref()),
        &all(events, |event| event.metadata.as_ref()),
        &all(events, |event| event.created_at),
    ];
    client.query_one(statements.of(expected), values)
}

impl Expecting {
    fn of(&self, expected: ExpectedVersion) -> &Statement {
        if expected == ExpectedVersion::Any { &self.any } else { &self.version }
    }
}

/// The answer: the positions, or the version of the head if it is not the expected one.
fn appended(row: &Row, expected: ExpectedVersion) -> Result<Appended, AppendError> {
    let unexpected = |error| AppendError::Database(failed("appending events", error));
    let head: i64 = row.try_get(0).map_err(unexpected)?;
    let positions: Vec<i64> = row.try_get(1).map_err(unexpected)?;
    // There are at least one and fewer than an i64 holds.
    let Some(count) = i64::try_from(positions.len()).ok().filter(|&count| count > 0) else {
        return Err(AppendError::ConcurrencyConflict { expected, actual: Some(head) });
    };
    Ok(Appended { first_version: head + 1, last_version: head + count, positions })
}

impl Statements {
    /// What a refusal of the server means.
    fn refused(&self, expected: ExpectedVersion, error: postgres::Error) -> AppendError {
        let lost = |actual| AppendError::ConcurrencyConflict { expected, actual };
        let Some(reported) = error.as_db_error() else {
            return AppendError::Database(failed("appending events", error));
        };
        match reported.code().code() {
            // unique_violation
            "23505" if self.moves_head && is_guard(reported) => AppendError::Database(
                Error::refused(
                    "the store got a guard since it was opened: its trigger moves heads",
                )
                .hint("open the store again"),
            ),
            "23505" => duplicate_event(reported).unwrap_or_else(|| {
                // The guard also gives up on a writer that is not done yet, and sees the old head.
                let has_moved =
                    |head: &i64| expected.number().is_some_and(|number| number != *head);
                lost(guarded_head(reported).filter(has_moved))
            }),
            // division_by_zero: the statement's own way of saying that the head has moved. In a
            // trigger of somebody else it has a context.
            "22012" if reported.where_().is_none() => lost(None),
            _ => AppendError::Database(failed("appending events", error)),
        }
    }
}

fn is_guard(reported: &DbError) -> bool {
    reported.constraint() == Some(Trigger::Guard.name())
}

/// Whether a key on `event_id` was violated. Keys of leaves have any name, and messages any
/// language; the columns in parentheses are always there, for those who may read them.
fn duplicate_event(reported: &DbError) -> Option<AppendError> {
    let (_, value) = reported.detail()?.split_once("(event_id)=(")?;
    let id = value.split(')').next().and_then(|id| Uuid::parse_str(id).ok());
    Some(AppendError::DuplicateEvent { event_id: id })
}

/// The version that the guard saw: the number in its detail.
fn guarded_head(reported: &DbError) -> Option<i64> {
    if !is_guard(reported) {
        return None;
    }
    let mut words = reported.detail()?.split(|character: char| !character.is_ascii_digit());
    words.find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StreamId;

    fn event(id: &str) -> NewEvent<'_> {
        NewEvent::new(StreamId::new("Sales", "Order", id), Uuid::nil(), "OrderPlaced")
    }

    fn complaint(expected: ExpectedVersion, events: &[NewEvent<'_>]) -> String {
        check(expected, events, 10).expect_err("cannot be appended").to_string()
    }

    #[test]
    fn what_cannot_be_appended_is_found_before_it_is_sent() {
        let any = ExpectedVersion::Any;
        assert_eq!(complaint(any, &[]), "there are no events to append");
        assert_eq!(
            complaint(any, &[event("1"), event("1"), event("2")]),
            "event 2 belongs to another aggregate than the first"
        );
        assert_eq!(
            complaint(ExpectedVersion::Exact(-1), &[event("1")]),
            "no aggregate is at version -1"
        );
        assert_eq!(
            complaint(ExpectedVersion::Exact(i64::MAX - 1), &[event("1"), event("1")]),
            "2 events after version 9223372036854775806 are too many"
        );
        assert!(check(ExpectedVersion::Exact(i64::MAX - 2), &[event("1"), event("1")], 10).is_ok());
        assert_eq!(
            complaint(any, &[event("1").payload(b"123456"), event("1").payload(b"12345")]),
            "the payloads have 11 bytes; the limit is 10"
        );
        assert!(check(any, &[event("1").payload(vec![0; 10])], 10).is_ok());
    }
}
