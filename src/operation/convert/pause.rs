//! Ends the work between two pieces of it when somebody has paused the conversion.

use std::time::{Duration, Instant};

use postgres::Client;

use crate::error::{Error, Result};
use crate::plan::convert::Phase;

use super::{Converter, Outcome, record};

/// How often it is looked whether somebody has paused it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks now and then whether somebody has paused the conversion.
pub(super) struct PauseWatch {
    pub(super) schema: String,
    pub(super) id: i64,
    /// A conversion that is ready cannot be paused: its swap ends by itself.
    can_be: bool,
    looked: Option<Instant>,
}

impl PauseWatch {
    /// Whether somebody has; not, while it was looked a moment ago.
    pub(super) fn is_paused(&mut self, client: &mut Client) -> Result<bool> {
        if !self.can_be || self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return Ok(false);
        }
        self.looked = Some(Instant::now());
        record::is_paused(client, &self.schema, self.id)
    }
}

impl Converter<'_> {
    /// Goes on until only the swap is left, or somebody pauses it.
    pub fn to_ready(&mut self) -> Result<Outcome> {
        self.paused = false;
        match self.work_to_ready() {
            Err(_) if self.paused => Ok(Outcome::Paused),
            outcome => outcome.map(|()| Outcome::Done),
        }
    }

    /// Looks at once at the first time that it is asked.
    pub(super) fn pause_watch(&self) -> PauseWatch {
        PauseWatch {
            schema: self.locked.schema().to_owned(),
            id: self.record.id,
            can_be: self.record.phase < Phase::Ready,
            looked: None,
        }
    }

    /// Ends the work when somebody has paused it.
    pub(super) fn check_pause(&mut self) -> Result<()> {
        let paused = self.pause_watch().is_paused(self.locked.client())?;
        if paused { Err(self.paused()) } else { Ok(()) }
    }

    /// Ends the work, as somebody has paused it: an error on the way up to [`Self::to_ready`],
    /// whatever is in between.
    pub(super) fn paused(&mut self) -> Error {
        self.paused = true;
        Error::refused("somebody has paused the conversion").hint("go on: pupctl convert resume")
    }
}
