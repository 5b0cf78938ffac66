//! A batch with an event that cannot be handled: it is found by halves, each in a savepoint, so
//! that whatever is around it stays in batches as large as they can be.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::db::Interrupt;
use crate::db::interrupt::is_cancelled;
use crate::error::Error;

use super::config::ErrorPolicy;
use super::definition::{Event, Projection};
use super::failure::{Failure, between, of_handler, of_panic};
use super::transaction::Transaction;

/// An aggregate: its context, type and id.
pub(super) type Aggregate = (String, String, String);

/// The aggregate of an event.
pub(super) fn aggregate(event: &Event) -> Aggregate {
    (event.bounded_context.clone(), event.aggregate_type.clone(), event.aggregate_id.clone())
}

/// An event that goes to the dead letters.
#[derive(Debug)]
pub(super) struct Letter<'e> {
    pub(super) event: &'e Event,
    /// `failed`, `waiting` or `skipped`, as the table has it.
    pub(super) state: &'static str,
    pub(super) error: Option<String>,
}

/// Handles events of a batch in which some cannot be handled.
pub(super) struct Careful<'a, 'e> {
    projection: &'a dyn Projection,
    policy: ErrorPolicy,
    /// Raised when the worker is to stop.
    stop: &'a Interrupt,
    /// The aggregates whose events wait.
    pub(super) parked: HashSet<Aggregate>,
    /// What goes to the dead letters.
    pub(super) letters: Vec<Letter<'e>>,
    /// The event at which the projection stops, and why.
    pub(super) stopped: Option<(&'e Event, Error)>,
    /// How many events were handled.
    pub(super) handled: usize,
}

impl<'a, 'e> Careful<'a, 'e> {
    pub(super) fn new(
        projection: &'a dyn Projection,
        policy: ErrorPolicy,
        stop: &'a Interrupt,
        parked: HashSet<Aggregate>,
    ) -> Self {
        Self { projection, policy, stop, parked, letters: Vec::new(), stopped: None, handled: 0 }
    }

    /// Handles the events in order, as far as they can be.
    pub(super) fn handle(
        &mut self,
        tx: &mut Transaction<'_>,
        events: &'e [Event],
    ) -> Result<(), Failure> {
        if events.is_empty() || self.stopped.is_some() {
            return Ok(());
        }
        let waits =
            |event: &Event| !self.parked.is_empty() && self.parked.contains(&aggregate(event));
        let some_wait = events.iter().any(waits);
        match events {
            [event] if some_wait => {
                self.letters.push(Letter { event, state: "waiting", error: None });
                return Ok(());
            }
            [event] => {
                if let Err(error) = self.attempt(tx, events)? {
                    self.refuse(event, error);
                }
                return Ok(());
            }
            _ if some_wait => {}
            _ => {
                if self.attempt(tx, events)?.is_ok() {
                    return Ok(());
                }
            }
        }
        let (first, second) = events.split_at(events.len() / 2);
        self.handle(tx, first)?;
        self.handle(tx, second)
    }

    /// Tries events together; what they did is taken back when one of them fails.
    fn attempt(
        &mut self,
        tx: &mut Transaction<'_>,
        events: &'e [Event],
    ) -> Result<Result<(), Error>, Failure> {
        let outcome = attempt(self.projection, tx, events, self.stop)?;
        if outcome.is_ok() {
            self.handled += events.len();
        }
        Ok(outcome)
    }

    fn refuse(&mut self, event: &'e Event, error: Error) {
        let state = match self.policy {
            ErrorPolicy::Stop => {
                self.stopped = Some((event, error));
                return;
            }
            ErrorPolicy::Skip => "skipped",
            ErrorPolicy::Park => {
                self.parked.insert(aggregate(event));
                "failed"
            }
        };
        tracing::error!(
            projection = self.projection.name(),
            position = event.global_position,
            event = %event.event_id,
            "an event goes to the dead letters ({state}): {error}"
        );
        self.letters.push(Letter { event, state, error: Some(error.message().to_owned()) });
    }
}

/// Looks for what the commit would find, and leaves everything as it is.
const COMMITTABLE: &str = include_str!("../../sql/projection/committable.sql");

/// Tries events in a savepoint: they are handled, or nothing of them is left. What would be found
/// only at the commit is found here.
pub(super) fn attempt(
    projection: &dyn Projection,
    tx: &mut Transaction<'_>,
    events: &[Event],
    stop: &Interrupt,
) -> Result<Result<(), Error>, Failure> {
    let name = projection.name();
    let mut savepoint = tx
        .savepoint()
        .map_err(|error| between(name, "setting a savepoint", error).unless_refused())?;
    let outcome = handle(projection, &mut savepoint, events).and_then(|()| {
        let committable = savepoint.batch_execute(COMMITTABLE);
        committable.map_err(|error| between(name, "looking at deferred constraints", error))
    });
    let refused = match outcome {
        Ok(()) => None,
        // Who is told to stop is not to blame the event for it.
        Err(Failure::Refused(error)) if stop.is_raised() && is_cancelled(&error) => {
            return Err(Failure::Transient(error));
        }
        Err(Failure::Refused(error)) => Some(error),
        Err(other) => return Err(other),
    };
    let end = if refused.is_none() { savepoint.commit() } else { savepoint.rollback() };
    end.map_err(|error| between(name, "ending a savepoint", error).unless_refused())?;
    Ok(refused.map_or(Ok(()), Err))
}

/// Lets the projection handle events; a panic of its is an error like any other.
pub(super) fn handle(
    projection: &dyn Projection,
    tx: &mut Transaction<'_>,
    events: &[Event],
) -> Result<(), Failure> {
    match catch_unwind(AssertUnwindSafe(|| projection.handle_batch(tx, events))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => match of_handler(&error) {
            (error, true) => Err(Failure::Transient(error)),
            (error, false) => Err(Failure::Refused(error)),
        },
        Err(panic) => Err(Failure::Refused(of_panic("handler", &*panic))),
    }
}
