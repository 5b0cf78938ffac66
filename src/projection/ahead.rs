//! Events read ahead of the batches that handle them.
//!
//! What is settled does not change, so it may be read long before it is handled, in large windows:
//! that is what makes small batches cheap. The next batch compares the position of its claim with
//! that of the window, and reads anew where they differ.

use std::sync::Arc;

use postgres::{GenericClient, Row, Statement};

use crate::error::{Error, Result};
use crate::render::environment::{render, values};

use super::checkpoint::Tables;
use super::definition::{Event, Scope};
use super::strategy::PartitionStrategy;

/// Up to so many positions behind, a prepared statement reads them all.
const LIVE_MAX: u16 = 1_000;

/// The most events that are read at a time.
const WINDOW_MAX: usize = 20_000;

/// The first span of positions in which a window is looked for.
const SPAN_FIRST: i64 = 20_000;

/// The widest one, where nearly nothing is in scope.
const SPAN_MAX: i64 = 20_000_000;

/// What a window may take of the memory, roughly.
const WINDOW_BYTES: usize = 16 << 20;

/// What an event takes beside its payload, roughly.
const EVENT_BYTES: usize = 400;

/// Which slots are read: the same ones of the same epoch, from the same position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// How often the slots were changed.
    pub(super) epoch: i32,
    /// Of how many.
    pub(super) of: u32,
    /// By which hash.
    pub(super) hash: String,
    /// Which, in order.
    pub(super) slots: Vec<i32>,
}

impl Group {
    pub(super) fn is_whole(&self) -> bool {
        self.slots.len() == self.of as usize
    }

    pub(super) fn numbers(&self) -> Vec<i64> {
        self.slots.iter().map(|&slot| i64::from(slot)).collect()
    }
}

/// The events of a group of slots after their checkpoint.
pub(super) struct Ahead {
    group: Group,
    strategy: Arc<dyn PartitionStrategy>,
    /// Where the checkpoint of the slots stands.
    at: i64,
    /// Everything up to here has been read.
    upto: i64,
    events: Vec<Event>,
    /// The slots of the events; empty where there is one slot.
    slots: Vec<i32>,
    /// The first of them that is not handled yet.
    next: usize,
    /// How many to read the next time.
    window: usize,
    /// Over how many positions to look for them: the server plans for so many, not for all that are
    /// left, of which it would expect too few in scope.
    span: i64,
    live: Option<Statement>,
}

/// What is ready to be handled, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready<'a> {
    /// The events.
    pub(super) events: &'a [Event],
    /// Their slots; empty where there is one.
    slots: &'a [i32],
    /// Where the checkpoint stands after all of them.
    end: i64,
}

impl<'a> Ready<'a> {
    /// The events of a batch from there on, at most so many; those at one position stay together.
    pub(super) fn batch(&self, from: usize, batch_size: usize) -> &'a [Event] {
        let left = &self.events[from..];
        let mut size = left.len().min(batch_size);
        while size > 0
            && size < left.len()
            && left[size].global_position == left[size - 1].global_position
        {
            size += 1;
        }
        &left[..size]
    }

    /// Where the checkpoint stands after so many of them.
    pub(super) fn position(&self, events: usize) -> i64 {
        match events.checked_sub(1) {
            Some(last) if events < self.events.len() => self.events[last].global_position,
            _ => self.end,
        }
    }

    /// The slot of an event.
    pub(super) fn slot(&self, event: usize) -> Option<i32> {
        self.slots.get(event).copied()
    }
}

impl Ahead {
    /// Nothing read yet.
    pub(super) fn new(group: Group, at: i64, strategy: Arc<dyn PartitionStrategy>) -> Self {
        Self {
            group,
            strategy,
            at,
            upto: at,
            events: Vec::new(),
            slots: Vec::new(),
            next: 0,
            window: 0,
            span: SPAN_FIRST,
            live: None,
        }
    }

    /// Whether it fits a claim.
    pub(super) fn fits(&self, group: &Group, position: i64) -> bool {
        self.at == position && self.group == *group
    }

    /// Whether everything that was read is handled.
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.events.len()
    }

    /// Everything up to here has been read.
    pub(super) fn upto(&self) -> i64 {
        self.upto
    }

    /// Reads on, where everything was handled: up to the settled position, or as much as fits.
    pub(super) fn fill(
        &mut self,
        client: &mut impl GenericClient,
        tables: &Tables,
        scope: &Scope,
        settled: i64,
        batch_size: usize,
    ) -> Result<()> {
        while self.is_empty() && self.upto < settled {
            self.read(client, tables, scope, settled, batch_size)?;
        }
        Ok(())
    }

    /// Reads one window.
    fn read(
        &mut self,
        client: &mut impl GenericClient,
        tables: &Tables,
        scope: &Scope,
        settled: i64,
        batch_size: usize,
    ) -> Result<()> {
        self.events.clear();
        self.slots.clear();
        self.next = 0;
        let is_live = settled - self.upto <= i64::from(LIVE_MAX);
        let limit = if is_live { usize::from(LIVE_MAX) } else { self.window(batch_size) };
        let to = if is_live { settled } else { settled.min(self.upto.saturating_add(self.span)) };
        // One more than are taken: where it follows at the same position, they stay together.
        let rows = self.query(client, tables, scope, to, is_live.then_some(()), limit + 1)?;
        let full = rows.len() > limit;
        if !is_live && rows.len() < WINDOW_MAX / 4 && !full {
            self.span = (self.span * 4).min(SPAN_MAX);
        }
        let mut events = Vec::with_capacity(rows.len());
        let mut bytes = 0;
        for row in &rows {
            let event = Event::from_row(row).map_err(failed)?;
            bytes += EVENT_BYTES + event.payload.len();
            events.push(event);
        }
        if full {
            drop_last_position(&mut events);
        }
        self.upto = match events.last() {
            Some(last) if full => last.global_position,
            _ => to,
        };
        if !is_live && !events.is_empty() {
            let fitting = WINDOW_BYTES / (bytes / events.len()).max(1);
            self.window = (limit * 4).min(fitting).clamp(batch_size.min(WINDOW_MAX), WINDOW_MAX);
        }
        if self.is_hashed_by_server() {
            let slot = |row: &Row| row.try_get::<_, i64>("slot").map_err(failed);
            let slots = rows[..events.len()].iter().map(slot).collect::<Result<Vec<_>>>()?;
            self.slots = slots.iter().map(|&slot| i32::try_from(slot).unwrap_or(-1)).collect();
        }
        self.events = events;
        self.drop_others()
    }

    /// Whether the server tells the slots of the events.
    fn is_hashed_by_server(&self) -> bool {
        self.strategy.is_servers() && self.group.of > 1
    }

    fn window(&self, batch_size: usize) -> usize {
        self.window.max(batch_size)
    }

    fn query(
        &mut self,
        client: &mut impl GenericClient,
        tables: &Tables,
        scope: &Scope,
        settled: i64,
        live: Option<()>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        let divided = self.strategy.is_servers() && !self.group.is_whole();
        let sql = || {
            let values = values! {
                events => tables.events,
                columns => Event::COLUMNS,
                contexts => scope.contexts,
                types => scope.types,
                of => self.is_hashed_by_server().then_some(self.group.of),
                divided,
                limit,
            };
            render("projection/read", &values)
        };
        let numbers = self.group.numbers();
        let all: [&(dyn postgres::types::ToSql + Sync); 3] = [&self.upto, &settled, &numbers];
        let values = if divided { &all[..] } else { &all[..2] };
        if live.is_none() {
            // Planned for these very positions, so that months which are closed, and lie before
            // or behind them, are left out.
            return client.query(&sql(), values).map_err(failed);
        }
        let statement = match &self.live {
            Some(statement) => statement.clone(),
            None => {
                let statement = client.prepare(&sql()).map_err(failed)?;
                self.live.insert(statement).clone()
            }
        };
        client.query(&statement, values).map_err(failed)
    }

    /// Leaves out the events of other slots, where the server cannot.
    fn drop_others(&mut self) -> Result<()> {
        let Self { group, strategy, events, slots, .. } = self;
        if strategy.is_servers() || group.of == 1 {
            return Ok(());
        }
        let mut strange = None;
        events.retain(|event| {
            let slot = strategy.slot(event, group.of);
            if slot >= group.of {
                strange.get_or_insert((event.global_position, slot));
            }
            let own =
                i32::try_from(slot).ok().filter(|slot| group.slots.binary_search(slot).is_ok());
            slots.extend(own);
            own.is_some()
        });
        match strange {
            None => Ok(()),
            Some((position, slot)) => Err(Error::refused(format!(
                "the strategy {} puts the event at position {position} into slot {slot} of {}",
                strategy.name(),
                group.of
            ))
            .hint("a strategy has to give numbers below that of the slots")),
        }
    }

    /// What was read and is not handled yet, none beyond `bound`.
    pub(super) fn ready(&self, bound: i64) -> Ready<'_> {
        let left = &self.events[self.next..];
        let within = left.partition_point(|event| event.global_position <= bound);
        let slots = self.slots.get(self.next..self.next + within).unwrap_or_default();
        Ready { events: &left[..within], slots, end: self.upto.min(bound) }
    }

    /// They were handled, and the checkpoint stands at `position`.
    pub(super) fn advance(&mut self, position: i64) {
        let left = &self.events[self.next..];
        self.next += left.partition_point(|event| event.global_position <= position);
        self.at = position;
        self.upto = self.upto.max(position);
    }
}

/// Leaves out the events at the last position, of which some may not have been read. Positions are
/// there twice where somebody wrote them by hand into several partitions.
fn drop_last_position(events: &mut Vec<Event>) {
    let Some(last) = events.last().map(|event| event.global_position) else { return };
    let before = events.partition_point(|event| event.global_position < last);
    // So many at one position are not read apart.
    if before > 0 {
        events.truncate(before);
    }
}

fn failed(error: postgres::Error) -> Error {
    Error::database("reading events for the projection", error)
}
