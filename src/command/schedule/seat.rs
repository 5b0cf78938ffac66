//! The session that holds the lock of the daemon: there is one daemon for a store.

use std::time::Duration;

use chrono::{DateTime, Utc};
use postgres::Client;

use crate::command::context::Connector;
use crate::db::inspect;
use crate::db::lock::{self, Holder};
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
    /// The session as the server knows it, also when it is lost.
    ours: Option<Holder>,
}

impl Seat {
    pub(super) fn new(connector: Connector, schema: &str) -> Self {
        Self { connector, schema: schema.to_owned(), client: None, ours: None }
    }

    /// Makes sure that the lock is held, on a new session where the server was away.
    ///
    /// # Errors
    ///
    /// [`Kind::Busy`] where another daemon has taken over meanwhile.
    pub(super) fn hold(&mut self) -> Result<&mut Client> {
        let lives = |client: &mut Client| client.is_valid(PATIENCE).is_ok();
        let client = match self.client.take() {
            Some(mut client) => {
                if lives(&mut client) {
                    client
                } else {
                    // Its end waits for answers that may never come.
                    std::thread::spawn(move || drop(client));
                    self.sit_down()?
                }
            }
            None => self.sit_down()?,
        };
        Ok(self.client.insert(client))
    }

    /// Takes the lock on a new session.
    fn sit_down(&mut self) -> Result<Client> {
        let mut client = self.connector.connect("pupctl/schedule run")?;
        if let Err(error) = lock::take_daemon(&mut client, &self.schema) {
            if error.kind() != Kind::Busy {
                return Err(error);
            }
            let holder = lock::daemon_holder(&mut client, &self.schema)?;
            let Some(ours) = holder.filter(|holder| self.ours.as_ref() == Some(holder)) else {
                return Err(error.hint("stop it first: a store has one daemon"));
            };
            // The network has lost it, and the server may take hours to notice.
            lock::end_lost(&mut client, &ours)?;
            let message = "the server still keeps the session that was lost";
            return Err(Error::new(Kind::Connection, message).hint("it was asked to end it"));
        }
        self.ours = lock::daemon_holder(&mut client, &self.schema)?;
        Ok(client)
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
