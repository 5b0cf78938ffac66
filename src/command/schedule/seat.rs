//! The session that holds the lock of the daemon: there is one daemon for a store.

use std::time::Duration;

use chrono::{DateTime, Utc};
use postgres::Client;

use crate::command::context::Connector;
use crate::db::{inspect, lock};
use crate::error::{Error, Kind, Result};
use crate::projection::Connect;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How far the clocks of the server and of this machine may be apart for jobs that take events out.
const CLOCKS_APART_MAX: chrono::TimeDelta = chrono::TimeDelta::minutes(5);

/// The session, where the server is there.
pub(super) struct Seat {
    connector: Connector,
    schema: String,
    client: Option<Client>,
}

impl Seat {
    pub(super) fn new(connector: Connector, schema: &str) -> Self {
        Self { connector, schema: schema.to_owned(), client: None }
    }

    /// Makes sure that the lock is held, on a new session where the server was away.
    ///
    /// # Errors
    ///
    /// [`Kind::Busy`] where another daemon has taken over meanwhile.
    pub(super) fn hold(&mut self) -> Result<&mut Client> {
        let lives = |client: &mut Client| client.is_valid(PATIENCE).is_ok();
        let client = match self.client.take().and_then(|mut old| lives(&mut old).then_some(old)) {
            Some(client) => client,
            None => {
                let mut client = self.connector.connect("pupctl/schedule run")?;
                lock::take_daemon(&mut client, &self.schema).map_err(|error| {
                    let is_busy = error.kind() == Kind::Busy;
                    let hint = "stop it first, or give jobs of one store to one daemon";
                    if is_busy { error.hint(hint) } else { error }
                })?;
                client
            }
        };
        Ok(self.client.insert(client))
    }

    /// Refuses a clock by which a job would take out events that are not old.
    pub(super) fn compare_clocks(&mut self, now: DateTime<Utc>) -> Result<()> {
        let server = inspect::server(self.hold()?)?.now;
        if (server - now).abs() <= CLOCKS_APART_MAX {
            return Ok(());
        }
        Err(Error::refused(format!(
            "the clocks of the server ({}) and of this machine ({}) are more than 5 minutes apart",
            server.format("%F %T UTC"),
            now.format("%F %T UTC")
        ))
        .hint("set the clock that is wrong: until then no job takes events out"))
    }
}
