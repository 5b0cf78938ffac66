//! Asks a run to stop at the next safe place.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};

/// A flag that a signal handler raises and that runs look at between two steps. Clones share it.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<Shared>);

#[derive(Default)]
struct Shared {
    raised: AtomicBool,
    /// What cancels the statement that runs at the moment.
    cancel: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Interrupt {
    /// Asks the run to stop, and cancels the statement that it waits for.
    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::SeqCst);
        self.cancel();
    }

    /// Cancels the statement that runs, for whoever does not want the rest of its rows.
    pub(crate) fn cancel(&self) {
        if let Ok(cancel) = self.0.cancel.lock()
            && let Some(cancel) = cancel.as_ref()
        {
            cancel();
        }
    }

    /// What else to do when it is raised; replaces what was set before.
    pub fn on_raise(&self, cancel: impl Fn() + Send + 'static) {
        if let Ok(mut place) = self.0.cancel.lock() {
            *place = Some(Box::new(cancel));
        }
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst)
    }

    /// The reason of a failure: the interruption, where that cancelled the statement.
    #[must_use]
    pub fn explain(&self, error: Error) -> Error {
        match self.check() {
            Err(interrupted) if is_cancelled(&error) => interrupted,
            _ => error,
        }
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

/// `query_canceled`: somebody asked the server to end the statement.
#[must_use]
pub fn is_cancelled(error: &Error) -> bool {
    error.sqlstate() == Some("57014")
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Interrupt").field(&self.is_raised()).finish()
    }
}
