//! The batch of a SQL projection: filled, handled and told of, without a row leaving the server.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use postgres::GenericClient;

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
}

impl Size {
    /// Always so many, or so many to begin with.
    pub(in crate::projection) fn new(events: usize, adapts: bool) -> Self {
        let most = if adapts { EVENTS_MAX.max(events) } else { events };
        Self { events, least: events.min(100), most: most.min(BATCH_SIZE_MAX), span: SPAN_FIRST }
    }

    /// Fits the size to how long a full batch took.
    fn fit(&mut self, events: usize, took: Duration) {
        if self.most == self.least.max(1) || events < self.events {
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

    /// How many events at most.
    pub(in crate::projection) fn events(&self) -> usize {
        self.events
    }
}

/// What is in a batch.
#[derive(Debug, Default)]
pub(in crate::projection) struct Filled {
    /// The positions of the events, in order.
    pub(in crate::projection) positions: Vec<i64>,
    /// The hashes of their ids.
    pub(in crate::projection) hashes: Vec<i64>,
    /// Their slots, where there are several.
    pub(in crate::projection) slots: Vec<i32>,
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
        let mut filled = Filled { upto: after, ..Filled::default() };
        while filled.positions.is_empty() && filled.upto < bound {
            let to = bound.min(filled.upto.saturating_add(size.span));
            filled = self.fill_span(tx, scope, group, filled.upto, to, size.events)?;
            if filled.positions.len() < size.events / 4 {
                size.span = (size.span * 4).min(SPAN_MAX);
            }
        }
        Ok(filled)
    }

    fn fill_span(
        &self,
        tx: &mut Transaction<'_>,
        scope: &Scope,
        group: &Group,
        after: i64,
        to: i64,
        limit: usize,
    ) -> Result<Filled> {
        let divided = !group.is_whole();
        let sql = render(
            "projection/sql/fill",
            &values! {
                events => self.events,
                columns => self.columns,
                contexts => scope.contexts,
                types => scope.types,
                of => (group.of > 1).then_some(group.of),
                divided,
                after,
                to,
                limit,
            },
        );
        let numbers = group.numbers();
        let of_slots: [&(dyn postgres::types::ToSql + Sync); 1] = [&numbers];
        let values = if divided { &of_slots[..] } else { &[] };
        // Not through a statement that stays prepared: the bounds are another text each time.
        let row = (**tx).query_one(&sql, values).map_err(failed)?;
        let list = |column| row.get::<_, Option<Vec<i64>>>(column).unwrap_or_default();
        let positions = list("positions");
        let slots = if group.of > 1 { list("slots") } else { Vec::new() };
        let upto = match positions.last() {
            Some(&last) if positions.len() >= limit => last,
            _ => to,
        };
        Ok(Filled {
            hashes: list("hashes"),
            slots: slots.iter().map(|&slot| i32::try_from(slot).unwrap_or(-1)).collect(),
            positions,
            upto,
        })
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
    pub(in crate::projection) fn set_aside(&self, tx: &mut Transaction<'_>) -> Result<usize> {
        let values = values! { dead_letters => self.dead_letters };
        let sql = render("projection/sql/set_aside", &values);
        let moved = tx.execute(&sql, &[&self.projection().name()]).map_err(failed)?;
        Ok(usize::try_from(moved).unwrap_or(usize::MAX))
    }

    /// Handles what is in the batch.
    pub(in crate::projection) fn handle_filled(
        &self,
        tx: &mut Transaction<'_>,
        filled: &Filled,
        size: &mut Size,
        tables: &Tables,
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        let handled = self.handle_all(tx);
        size.fit(filled.positions.len(), begun.elapsed());
        handled.map_err(|error| match Failure::database("handling it", error) {
            Failure::Fatal(error) => Failure::Refused(error),
            other => other,
        })?;
        // What a function or a trigger does shows only once there are rows.
        if !self.proven.swap(true, Ordering::Relaxed) {
            let Tables { events: _, checkpoints, dead_letters, definitions, audit } = tables;
            let mine = [checkpoints, dead_letters, definitions, audit];
            let schema = self.projection().schema().unwrap_or(&tables.events.schema);
            check::refuse_others(&mut **tx, self.projection(), schema, &mine)?;
        }
        Ok(())
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
        assert_eq!(size.events(), 1_000);
    }

    #[test]
    fn a_size_fits_itself_to_the_time() {
        let mut size = Size::new(1_000, true);
        size.fit(999, Duration::ZERO);
        assert_eq!(size.events(), 1_000, "the batch was not full");
        size.fit(1_000, Duration::ZERO);
        assert_eq!(size.events(), 2_000);
        for _ in 0..20 {
            size.fit(size.events(), Duration::ZERO);
        }
        assert_eq!(size.events(), EVENTS_MAX);
        size.fit(EVENTS_MAX, Duration::from_secs(1));
        assert_eq!(size.events(), EVENTS_MAX / 2);
        for _ in 0..20 {
            size.shrink();
        }
        assert_eq!(size.events(), 100);
    }
}
