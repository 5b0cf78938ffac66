//! Reads events: those of an aggregate, and all in the order of their positions.

use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use postgres::{GenericClient, Row, Statement};

use crate::layout::name::QualifiedName;
use crate::layout::protection::Guard;
use crate::layout::{Layout, Role};
use crate::render::environment::{render, values};

use super::event::StoredEvent;
use super::stream::StreamId;
use super::{Result, Store, Values, failed, leaves, prepare};

/// The statements that read.
#[derive(Debug)]
pub(super) struct Statements {
    stream: Statement,
    all: Statement,
    recent: Option<Recent>,
}

impl Statements {
    pub(super) fn prepare(
        client: &mut impl GenericClient,
        schema: &str,
        layout: &Layout,
    ) -> Result<Self> {
        let events = layout.table(schema, Role::Events);
        let statement = |template: &str, within: bool| {
            let columns = StoredEvent::COLUMNS;
            render(template, &values! { events, columns, within })
        };
        Ok(Self {
            stream: prepare(client, &statement("store/read_stream", false))?,
            all: prepare(client, &statement("store/read_all", false))?,
            recent: if Recent::is_worth_it(client, layout, &events)? {
                let heads = layout.table(schema, Role::Heads);
                Some(Recent {
                    head: prepare(client, &render("store/head", &values! { heads }))?,
                    stream: prepare(client, &statement("store/read_stream", true))?,
                    misses: AtomicU32::new(0),
                })
            } else {
                None
            },
        })
    }
}

/// The way to the events of an aggregate past the months that do not have them.
///
/// PostgreSQL has to look into every month for an aggregate. But most live for a few weeks, and
/// the head says when the last event came. So those weeks are read, and the versions prove that
/// nothing is missing: the guard lets none be left out and none be there twice. Where something is
/// missing, because the aggregate is older or its events carry other times than those of their
/// arrival, all months are read after all.
#[derive(Debug)]
struct Recent {
    head: Statement,
    stream: Statement,
    /// How many reads in a row it did not serve.
    misses: AtomicU32,
}

/// How long before its last event the first of an aggregate may be.
const LIFETIME: TimeDelta = TimeDelta::days(31);

/// How far the clocks of clients may be ahead of the server's.
const CLOCKS: TimeDelta = TimeDelta::days(1);

/// With fewer partitions it is quicker to look into all of them than to ask the head first.
const LEAVES_MIN: i64 = 24;

/// After so many misses in a row the store seems to have aggregates of another kind…
const MISSES_MAX: u32 = 8;

/// … and of so many reads one tries again.
const TRY_EVERY: u32 = 32;

impl Recent {
    fn is_worth_it(
        client: &mut impl GenericClient,
        layout: &Layout,
        events: &QualifiedName,
    ) -> Result<bool> {
        if layout.guard() != Guard::Events {
            return Ok(false);
        }
        Ok(leaves(client, events)? >= LEAVES_MIN)
    }

    fn seems_promising(&self) -> bool {
        let misses = self.misses.load(Ordering::Relaxed);
        misses < MISSES_MAX || misses.is_multiple_of(TRY_EVERY)
    }

    fn note(&self, found: bool) {
        if found {
            self.misses.store(0, Ordering::Relaxed);
        } else {
            self.misses.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The events, if all of them are recent.
    fn read(
        &self,
        client: &mut impl GenericClient,
        stream: &StreamId<'_>,
        from: i64,
        to: i64,
    ) -> Result<Option<Vec<StoredEvent>>> {
        let StreamId { bounded_context, aggregate_type, aggregate_id } = stream;
        let head = client
            .query_opt(&self.head, &[bounded_context, aggregate_type, aggregate_id])
            .and_then(|row| row.as_ref().map(head).transpose())
            .map_err(reading)?;
        let Some((version, updated_at)) = head else { return Ok(None) };
        if from > version {
            return Ok(Some(Vec::new()));
        }
        let (Some(after), Some(before)) =
            (updated_at.checked_sub_signed(LIFETIME), updated_at.checked_add_signed(CLOCKS))
        else {
            return Ok(None);
        };
        let values: &Values<'_> =
            &[bounded_context, aggregate_type, aggregate_id, &from, &to, &after, &before];
        let events = query(client, &self.stream, values)?;
        let versions = events.iter().map(|event| event.aggregate_version);
        Ok(has_all(versions, from.max(1), to.min(version)).then_some(events))
    }
}

fn head(row: &Row) -> Result<(i64, DateTime<Utc>), postgres::Error> {
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Whether versions follow each other from the first to the last at least.
fn has_all(versions: impl Iterator<Item = i64>, first: i64, last: i64) -> bool {
    let mut next = first;
    for version in versions {
        if version != next {
            return false;
        }
        next = version.saturating_add(1);
    }
    next > last
}

impl Store {
    /// The events of an aggregate whose versions lie in the range, in the order of their versions:
    /// `..` for all, `6..` for those after version 5.
    ///
    /// On a store with many months and the guard it reads the months around the last event first,
    /// and all of them only if that is not the whole stream. Then it is two or three round trips.
    pub fn read_stream(
        &self,
        client: &mut impl GenericClient,
        stream: &StreamId<'_>,
        versions: impl RangeBounds<i64>,
    ) -> Result<Vec<StoredEvent>> {
        let Some((from, to)) = limits(&versions) else { return Ok(Vec::new()) };
        let recent = self.read.recent.as_ref();
        if let Some(recent) = recent {
            if recent.seems_promising() {
                let found = recent.read(client, stream, from, to)?;
                recent.note(found.is_some());
                if let Some(events) = found {
                    return Ok(events);
                }
            } else {
                recent.note(false);
            }
        }
        let StreamId { bounded_context, aggregate_type, aggregate_id } = stream;
        let values: &Values<'_> = &[bounded_context, aggregate_type, aggregate_id, &from, &to];
        query(client, &self.read.stream, values)
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

fn reading(error: postgres::Error) -> crate::Error {
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

    #[test]
    fn only_a_run_without_holes_is_the_whole_stream() {
        let has_all =
            |versions: &[i64], first, last| has_all(versions.iter().copied(), first, last);
        assert!(has_all(&[1, 2, 3], 1, 3));
        // Others appended after the head was read.
        assert!(has_all(&[1, 2, 3, 4], 1, 3));
        assert!(!has_all(&[1, 2, 4], 1, 3));
        assert!(!has_all(&[2, 3], 1, 3));
        assert!(!has_all(&[1, 2], 1, 3));
        assert!(!has_all(&[1, 2, 2, 3], 1, 3));
        assert!(!has_all(&[], 1, 3));
        assert!(has_all(&[5, 6], 5, 6));
    }
}
