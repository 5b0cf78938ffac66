//! A batch with an event that cannot be handled: it is found by halves, each in a savepoint, so
//! that whatever is around it stays in batches as large as they can be.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;

use super::config::ErrorPolicy;
use super::definition::{Event, Projection};
use super::failure::{Failure, of_handler, of_panic};
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
    /// Whether constraints that are deferred to the commit are looked at in each savepoint.
    immediate: bool,
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
        immediate: bool,
        parked: HashSet<Aggregate>,
    ) -> Self {
        Self {
            projection,
            policy,
            immediate,
            parked,
            letters: Vec::new(),
            stopped: None,
            handled: 0,
        }
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
        let failed = |error| Failure::database("setting a savepoint", error);
        let mut savepoint = tx.savepoint().map_err(failed)?;
        match handle(self.projection, &mut savepoint, events) {
            Ok(()) => {}
            Err(Failure::Refused { error, .. }) => return Ok(Err(error)),
            Err(other) => return Err(other),
        }
        if self.immediate
            && let Err(error) = savepoint.batch_execute(IMMEDIATE)
        {
            return refused(error);
        }
        // A handler may have gone on after a statement that failed.
        match savepoint.commit() {
            Ok(()) => {
                self.handled += events.len();
                Ok(Ok(()))
            }
            Err(error) => refused(error),
        }
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

/// What the commit would find.
const IMMEDIATE: &str = include_str!("../../sql/projection/immediate.sql");

fn refused(error: postgres::Error) -> Result<Result<(), Error>, Failure> {
    match Failure::database("handling it", error) {
        Failure::Fatal(error) => Ok(Err(error)),
        other => Err(other),
    }
}

/// Lets the projection handle events; a panic of its is an error like any other.
pub(super) fn handle(
    projection: &dyn Projection,
    tx: &mut Transaction<'_>,
    events: &[Event],
) -> Result<(), Failure> {
    let refused = |error| Failure::Refused { error, at_commit: false };
    match catch_unwind(AssertUnwindSafe(|| projection.handle_batch(tx, events))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => match of_handler(&error) {
            (error, true) => Err(Failure::Transient(error)),
            (error, false) => Err(refused(error)),
        },
        Err(panic) => Err(refused(of_panic(&*panic))),
    }
}
