//! Asks a run to stop at the next safe place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Kind, Result};

/// A flag that a signal handler raises and that runs look at between two steps. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks the run to stop.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// An error of the kind [`Kind::Interrupted`] when it was.
    pub fn check(&self) -> Result<()> {
        if self.is_raised() {
            return Err(Error::new(Kind::Interrupted, "interrupted")
                .hint("what was done so far is complete: run the command again to go on"));
        }
        Ok(())
    }
}
