//! Reads events: those of an aggregate, and all in the order of their positions.

use std::ops::{Bound, RangeBounds};

use postgres::types::ToSql;
use postgres::{GenericClient, Statement};

use crate::layout::{Layout, Role};
use crate::render::environment::{render, values};

use super::event::StoredEvent;
use super::stream::StreamId;
use super::window::{Bounds, Windows};
use super::{Result, Store, Values, failed, prepare};

/// The statements that read.
#[derive(Debug)]
pub(super) struct Statements {
    stream: Statement,
    all: Statement,
    windows: Option<Windows>,
}

impl Statements {
    pub(super) fn prepare(
        client: &mut impl GenericClient,
        schema: &str,
        layout: &Layout,
    ) -> Result<Self> {
        let events = layout.table(schema, Role::Events);
        let columns = StoredEvent::COLUMNS;
        let values = values! { events, columns, context => None::<&str>, months => None::<Bounds> };
        Ok(Self {
            stream: prepare(client, &render("store/read_stream", &values))?,
            all: prepare(client, &render("store/read_all", &values))?,
            windows: Windows::prepare(client, schema, layout)?,
        })
    }
}

/// Which events of which aggregate.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    stream: &'a StreamId<'a>,
    /// The first version.
    pub(super) from: i64,
    /// The last version.
    pub(super) to: i64,
}

impl Wanted<'_> {
    /// The bounded context.
    pub(super) fn context(&self) -> &str {
        &self.stream.bounded_context
    }

    /// The parameters that name the aggregate.
    pub(super) fn stream(&self) -> [&(dyn ToSql + Sync); 3] {
        let StreamId { bounded_context, aggregate_type, aggregate_id } = self.stream;
        [bounded_context, aggregate_type, aggregate_id]
    }

    /// All parameters.
    pub(super) fn values(&self) -> [&(dyn ToSql + Sync); 5] {
        let [bounded_context, aggregate_type, aggregate_id] = self.stream();
        [bounded_context, aggregate_type, aggregate_id, &self.from, &self.to]
    }
}

impl Store {
    /// The events of an aggregate whose versions lie in the range, in the order of their versions:
    /// `..` for all, `6..` for those after version 5.
    ///
    /// On a store with many months and the guard it reads those first in which the events are
    /// likely to be: around the present, then around the last event. Where that is the whole
    /// stream, as its versions prove, it is done after one round trip, or two; else it reads all
    /// months. For each such span of months, of each context that divides the store, it keeps a
    /// statement on the connection, at most 64, which
    /// costs a round trip when it comes first.
    pub fn read_stream(
        &self,
        client: &mut impl GenericClient,
        stream: &StreamId<'_>,
        versions: impl RangeBounds<i64>,
    ) -> Result<Vec<StoredEvent>> {
        let Some((from, to)) = limits(&versions) else { return Ok(Vec::new()) };
        let wanted = Wanted { stream, from, to };
        if let Some(windows) = &self.read.windows
            && let Some(events) = windows.read(client, &wanted)?
        {
            return Ok(events);
        }
        query(client, &self.read.stream, &wanted.values())
    }

    /// The events of the whole store after a position, in the order of their positions, at most
    /// `limit`.
    ///
    /// Whoever goes on from the last position that it got may **skip events**: positions are given
    /// when events are inserted, and a transaction with a lower one may commit later. Read history
    /// with it, or a store that nobody writes to; a projection needs a reader that waits for open
    /// transactions.
    pub fn read_all(
        &self,
        client: &mut impl GenericClient,
        after_position: i64,
        limit: u32,
    ) -> Result<Vec<StoredEvent>> {
        query(client, &self.read.all, &[&after_position, &i64::from(limit)])
    }
}

fn query(
    client: &mut impl GenericClient,
    statement: &Statement,
    values: &Values<'_>,
) -> Result<Vec<StoredEvent>> {
    let rows = client.query(statement, values).map_err(reading)?;
    rows.iter().map(StoredEvent::from_row).collect::<Result<_, _>>().map_err(reading)
}

/// What the server said to a read.
pub(super) fn reading(error: postgres::Error) -> crate::Error {
    failed("reading events", error)
}

/// The first and the last number of a range; none when it is empty.
fn limits(range: &impl RangeBounds<i64>) -> Option<(i64, i64)> {
    let first = match range.start_bound() {
        Bound::Included(&first) => first,
        Bound::Excluded(&before) => before.checked_add(1)?,
        Bound::Unbounded => i64::MIN,
    };
    let last = match range.end_bound() {
        Bound::Included(&last) => last,
        Bound::Excluded(&end) => end.checked_sub(1)?,
        Bound::Unbounded => i64::MAX,
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_a_first_and_a_last_number() {
        assert_eq!(limits(&(..)), Some((i64::MIN, i64::MAX)));
        assert_eq!(limits(&(3..)), Some((3, i64::MAX)));
        assert_eq!(limits(&(3..5)), Some((3, 4)));
        assert_eq!(limits(&(3..=5)), Some((3, 5)));
        assert_eq!(limits(&(3..3)), None);
        assert_eq!(limits(&(..i64::MIN)), None);
        assert_eq!(limits(&(Bound::Excluded(i64::MAX), Bound::Unbounded)), None);
    }
}
