//! What a batch did, and how its checkpoint is moved.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use postgres::Statement;
use postgres::types::ToSql;

use crate::error::Error;

use super::ahead::Ready;
use super::audit::Given;
use super::careful::{Careful, Letter};
use super::claim::Claim;
use super::definition::Event;
use super::failure::{Failure, between, ended};
use super::pace::Pace;
use super::transaction::Transaction;

/// So long a transaction goes on with the next events that are read already, while it is behind:
/// beginning and committing cost as much as a small batch. Locks of handlers are held no longer.
const TRANSACTION_MOST: Duration = Duration::from_millis(20);

/// What the transaction of a batch writes down.
#[derive(Default)]
pub(super) struct Done<'e> {
    pub(super) handled: usize,
    /// How many events were handled, or went to the dead letters.
    pub(super) passed: usize,
    pub(super) position: i64,
    /// How many events of each slot were handled, where there are several.
    pub(super) slots: HashMap<i32, i64>,
    pub(super) parked: bool,
    pub(super) letters: Vec<Letter<'e>>,
    /// The event at which it stops, why, and its slot.
    pub(super) stopped: Option<(&'e Event, Error, Option<i32>)>,
}

impl<'e> Done<'e> {
    /// Handles what is ready, batch after batch, for as long as a transaction may take.
    pub(super) fn take_all(
        &mut self,
        ready: Ready<'e>,
        batch_size: usize,
        started: Instant,
        mut handle: impl FnMut(&'e [Event]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while self.handled < ready.events.len() {
            let events = ready.batch(self.handled, batch_size);
            handle(events)?;
            self.handled += events.len();
            if started.elapsed() > TRANSACTION_MOST {
                break;
            }
        }
        self.passed = self.handled;
        self.position = ready.position(self.handled);
        self.count((0..self.handled).filter_map(|event| ready.slot(event)));
        Ok(())
    }

    pub(super) fn take(&mut self, careful: Careful<'_, 'e>, ready: Ready<'e>, events: usize) {
        self.handled = careful.handled;
        self.passed = events;
        self.position = ready.position(events);
        self.parked = !careful.parked.is_empty();
        self.letters = careful.letters;
        let place =
            |event: &Event| ready.events.iter().position(|other| other.event_id == event.event_id);
        self.stopped = careful.stopped.map(|(event, error)| {
            // Everything before it is done.
            self.position = event.global_position - 1;
            self.passed = place(event).unwrap_or(events);
            (event, error, ready.slot(self.passed))
        });
        let is_letter =
            |event: &Event| self.letters.iter().any(|l| l.event.event_id == event.event_id);
        let handled = (0..self.passed).filter(|&event| !is_letter(&ready.events[event]));
        let slots: Vec<_> = handled.filter_map(|event| ready.slot(event)).collect();
        self.count(slots);
    }

    fn count(&mut self, slots: impl IntoIterator<Item = i32>) {
        for slot in slots {
            *self.slots.entry(slot).or_default() += 1;
        }
    }

    /// How many events of each of these slots were handled.
    fn counts(&self, slots: &[i32]) -> Vec<i64> {
        // One slot, or dead letters, of which nobody asked.
        if self.slots.is_empty() {
            let all = i64::try_from(self.handled).unwrap_or(i64::MAX);
            return (0..slots.len()).map(|number| if number == 0 { all } else { 0 }).collect();
        }
        slots.iter().map(|slot| self.slots.get(slot).copied().unwrap_or(0)).collect()
    }
}

/// What moves checkpoints, and notes what was given.
pub(super) struct Mover<'a> {
    pub(super) statement: &'a Statement,
    pub(super) label: &'a str,
    pub(super) pace: &'a Pace,
}

impl Mover<'_> {
    pub(super) fn advance(
        &self,
        tx: &mut Transaction<'_>,
        name: &str,
        claim: &Claim,
        done: &Done<'_>,
        given: &Given,
    ) -> Result<(), Failure> {
        let slots = &claim.group.slots;
        let handled = done.counts(slots);
        let stopped = done.stopped.as_ref();
        let error = stopped.map(|(_, error, _)| error.message());
        let failed_at = stopped.map(|(event, ..)| event.global_position);
        let failed_slot = stopped.and_then(|(.., slot)| slot.or(slots.first().copied()));
        let digests = given.digests();
        let values: [&(dyn ToSql + Sync); 17] = [
            &name,
            slots,
            &done.position,
            &self.label,
            &handled,
            &self.pace.of(slots.len()),
            &done.parked,
            &error,
            &failed_at,
            &claim.position,
            &claim.transaction,
            &failed_slot,
            &given.blocks,
            &slots.first().copied().unwrap_or(0),
            &given.bits,
            &given.events,
            &digests,
        ];
        let moved = (**tx)
            .execute(self.statement, &values)
            // A statement of a handler may have failed, though it said that all is well.
            .map_err(|error| between(name, "moving the checkpoint", error))?;
        if moved == slots.len() as u64 {
            return Ok(());
        }
        Err(Failure::Fatal(ended(name)))
    }
}
