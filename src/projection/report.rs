//! What workers are told, and what they tell.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use postgres::CancelToken;

use crate::db::Interrupt;

use super::batch::Batch;

/// What workers of a projection did, together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The projection.
    pub projection: String,
    /// How many events were handled.
    pub events: u64,
    /// In how many batches.
    pub batches: u64,
    /// How many events went to the dead letters.
    pub dead_letters: u64,
    /// The highest position that a slot reached.
    pub position: i64,
    /// Why it stopped before its time, in one sentence, where it did.
    pub stopped: Option<String>,
}

impl Report {
    pub(super) fn of(projection: &str) -> Self {
        Self { projection: projection.to_owned(), ..Self::default() }
    }

    fn add(&mut self, batch: &Batch) {
        self.events += batch.events as u64;
        self.batches += 1;
        self.dead_letters += batch.letters as u64;
        self.position = self.position.max(batch.position);
    }
}

/// What a worker is told, and tells.
#[derive(Default)]
pub(super) struct Control {
    /// Raised to stop it: the whole process, or its projection.
    pub(super) stop: Interrupt,
    /// Whether another worker of the projection met an event that nobody can handle.
    pub(super) projection_stopped: Arc<AtomicBool>,
    /// What cancels the statement that it waits for.
    pub(super) cancel: Mutex<Option<CancelToken>>,
    /// What was done so far.
    pub(super) report: Arc<Mutex<Report>>,
}

impl Control {
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_raised() || self.projection_stopped.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, batch: &Batch) {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).add(batch);
    }

    /// Where it stands before it has done anything.
    pub(super) fn note_position(&self, position: i64) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.position = report.position.max(position);
    }

    pub(super) fn set_cancel(&self, token: Option<CancelToken>) {
        *self.cancel.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}
