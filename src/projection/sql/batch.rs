//! The batch of a SQL projection: filled, handled and told of, without a row leaving the server.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use postgres::{GenericClient, SimpleQueryMessage};

use crate::error::{Error, Result};
use crate::projection::ahead::Group;
use crate::projection::checkpoint::Tables;
use crate::projection::config::BATCH_SIZE_MAX;
use crate::projection::definition::Scope;
use crate::projection::failure::Failure;
use crate::projection::transaction::Transaction;
use crate::render::environment::{render, values};

use super::{SqlSession, check};

/// So long a batch may take while the projection is behind.
const BEHIND: Duration = Duration::from_millis(150);

/// The most events of a batch that finds its own size.
const EVENTS_MAX: usize = 50_000;

/// The first span of positions in which events of a batch are looked for.
const SPAN_FIRST: i64 = 20_000;

/// The widest one, where nearly nothing is in scope.
const SPAN_MAX: i64 = 20_000_000;

/// How many events a batch has at most, and over how many positions they are looked for.
#[derive(Debug, Clone)]
pub(in crate::projection) struct Size {
    events: usize,
    least: usize,
    most: usize,
    span: i64,
    /// Whether nearly each position has an event in scope.
    is_dense: bool,
}

impl Size {
    /// Always so many, or so many to begin with.
    pub(in crate::projection) fn new(events: usize, adapts: bool) -> Self {
        let most = if adapts { EVENTS_MAX.max(events) } else { events };
        let most = most.min(BATCH_SIZE_MAX);
        Self { events, least: events.min(100), most, span: SPAN_FIRST, is_dense: true }
    }

    /// Over how many positions to look for the events of a batch: as many as there are to be, where
    /// nearly each position has one.
    fn span(&self) -> i64 {
        if self.is_dense { i64::try_from(self.events).unwrap_or(i64::MAX) } else { self.span }
    }

    /// So many events were found over so many positions.
    fn note(&mut self, events: usize, positions: i64) {
        let positions = usize::try_from(positions).unwrap_or(usize::MAX);
        self.is_dense = events >= positions / 4 * 3;
        if events < self.events / 4 {
            self.span = (self.span * 4).min(SPAN_MAX);
        }
    }

    /// Fits the size to how long a full batch took.
    fn fit(&mut self, events: usize, took: Duration) {
        if self.most == self.least.max(1) || events < self.events / 4 * 3 {
            return;
        }
        if took < BEHIND / 2 {
            self.events = (self.events * 2).min(self.most);
        } else if took > BEHIND * 2 {
            self.events = (self.events / 2).max(self.least);
        }
    }

    /// After a batch that failed: what follows is likely to fail again.
    pub(in crate::projection) fn shrink(&mut self) {
        if self.most > self.least {
            self.events = (self.events / 16).max(self.least);
        }
    }
}

/// What is in a batch.
#[derive(Debug, Default)]
pub(in crate::projection) struct Filled {
    /// The positions of the events, in order, and the hashes of their ids.
    pub(in crate::projection) given: Vec<(i64, i64)>,
    /// Up to where everything in scope is in it.
    pub(in crate::projection) upto: i64,
}

impl SqlSession {
    /// Fills the batch with the next events of a group of slots, none beyond `bound`.
    pub(in crate::projection) fn fill(
        &self,
        tx: &mut Transaction<'_>,
        scope: &Scope,
        group: &Group,
        after: i64,
        bound: i64,
        size: &mut Size,
    ) -> Result<Filled> {
        let mut upto = after;
        while upto < bound {
            let from = upto;
            let to = bound.min(from.saturating_add(size.span()));
            // Of no more positions there are no more events.
            let is_few = usize::try_from(to - from).is_ok_and(|positions| positions <= size.events);
            let limit = (!is_few).then_some(size.events);
            let events = self.fill_span(tx, scope, group, (from, to), limit)?;
            size.note(events, to - from);
            upto = to;
            if events > 0 {
                let mut filled = Self::filled(tx)?;
                filled.upto = match filled.given.last() {
                    Some(&(last, _)) if limit.is_some_and(|limit| events >= limit) => last,
                    _ => to,
                };
                return Ok(filled);
            }
        }
        Ok(Filled { upto, ..Filled::default() })
    }

    /// Fills the batch with events of a span of positions, the first so many. How many that were.
    fn fill_span(
        &self,
        tx: &mut Transaction<'_>,
        scope: &Scope,
        group: &Group,
        (after, to): (i64, i64),
        limit: Option<usize>,
    ) -> Result<usize> {
        let sql = render(
            "projection/sql/fill",
            &values! {
                events => self.events,
                columns => self.columns,
                contexts => scope.contexts,
                types => scope.types,
                of => group.of,
                divided => !group.is_whole(),
                slots => group.slots,
                after,
                to,
                limit,
            },
        );
        // In one round trip: the bounds are another text each time, so nothing is prepared.
        let messages = tx.simple_query(&sql).map_err(failed)?;
        let events = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::CommandComplete(events) => Some(*events),
            _ => None,
        });
        Ok(events.and_then(|events| usize::try_from(events).ok()).unwrap_or(0))
    }

    /// What is in the batch.
    fn filled(tx: &mut Transaction<'_>) -> Result<Filled> {
        let sql = include_str!("../../../sql/projection/sql/filled.sql");
        let row = tx.query_one(sql, &[]).map_err(failed)?;
        let list = |column| row.get::<_, Option<Vec<i64>>>(column).unwrap_or_default();
        let mut given: Vec<_> = list("positions").into_iter().zip(list("hashes")).collect();
        given.sort_unstable();
        Ok(Filled { given, upto: 0 })
    }

    /// How many events of each slot are in the batch, where it is of several.
    pub(in crate::projection) fn slots(
        tx: &mut Transaction<'_>,
        group: &Group,
    ) -> Result<HashMap<i32, i64>> {
        if group.slots.len() == 1 {
            return Ok(HashMap::new());
        }
        let sql = render("projection/sql/slots", &values! { of => group.of });
        let rows = tx.query(&sql, &[]).map_err(failed)?;
        Ok(rows.iter().map(|row| (row.get("slot"), row.get("events"))).collect())
    }

    /// Whether there is anything for a group of slots between two positions.
    pub(in crate::projection) fn is_any(
        &self,
        client: &mut impl GenericClient,
        scope: &Scope,
        group: &Group,
        after: i64,
        to: i64,
    ) -> Result<bool> {
        let divided = !group.is_whole();
        let sql = render(
            "projection/sql/any",
            &values! {
                events => self.events,
                contexts => scope.contexts,
                types => scope.types,
                of => group.of,
                divided,
            },
        );
        let numbers = group.numbers();
        let all: [&(dyn postgres::types::ToSql + Sync); 3] = [&after, &to, &numbers];
        let values = if divided { &all[..] } else { &all[..2] };
        client.query_one(&sql, values).map(|row| row.get("found")).map_err(failed)
    }

    /// Moves the events of aggregates that wait for dead letters there. How many.
    pub(in crate::projection) fn set_aside(
        &self,
        tx: &mut Transaction<'_>,
        after: i64,
        to: i64,
    ) -> Result<usize> {
        let values =
            values! { dead_letters => self.dead_letters, events => self.events, after, to };
        let sql = render("projection/sql/set_aside", &values);
        let moved = (**tx).execute(&sql, &[&self.projection().name()]).map_err(failed)?;
        Ok(usize::try_from(moved).unwrap_or(usize::MAX))
    }

    /// Handles what is in the batch.
    pub(in crate::projection) fn handle_filled(
        &self,
        tx: &mut Transaction<'_>,
        events: usize,
        size: &mut Size,
        tables: &Tables,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        let handled = self.handle_all(tx);
        size.fit(events, begun.elapsed());
        handled.map_err(|error| match Failure::database("handling it", error) {
            Failure::Fatal(error) => Failure::Refused(error),
            other => other,
        })?;
        self.refuse_others(tx, tables)
    }

    /// Refuses a batch that has written what is not the projection's. What a function or a trigger
    /// does shows only once there are rows, and may be another thing with each batch.
    pub(in crate::projection) fn refuse_others(
        &self,
        tx: &mut Transaction<'_>,
        tables: &Tables,
    ) -> Result<(), Failure> {
        let is_proven = self.proven.swap(true, Ordering::Relaxed);
        if is_proven && !self.is_opaque {
            return Ok(());
        }
        let Tables { events: _, checkpoints, dead_letters, definitions, audit } = tables;
        let mine = [checkpoints, dead_letters, definitions, audit];
        let schema = self.projection().schema().unwrap_or(&tables.events.schema);
        Ok(check::refuse_others(&mut **tx, self.projection(), schema, &mine)?)
    }
}

fn failed(error: postgres::Error) -> Error {
    Error::database("reading events for the projection", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_is_fixed_stays() {
        let mut size = Size::new(1_000, false);
        size.fit(1_000, Duration::ZERO);
        assert_eq!(size.events, 1_000);
    }

    #[test]
    fn a_size_fits_itself_to_the_time() {
        let mut size = Size::new(1_000, true);
        size.fit(700, Duration::ZERO);
        assert_eq!(size.events, 1_000, "the batch was not full");
        size.fit(1_000, Duration::ZERO);
        assert_eq!(size.events, 2_000);
        for _ in 0..20 {
            size.fit(size.events, Duration::ZERO);
        }
        assert_eq!(size.events, EVENTS_MAX);
        size.fit(EVENTS_MAX, Duration::from_secs(1));
        assert_eq!(size.events, EVENTS_MAX / 2);
        for _ in 0..20 {
            size.shrink();
        }
        assert_eq!(size.events, 100);
    }
}
