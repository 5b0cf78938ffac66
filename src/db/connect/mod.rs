//! Resolves where the database is, and connects to it.
//!
//! It follows libpq, so that whatever connects `psql` connects pupctl: URLs and `key=value`
//! strings, the `PG*` variables, service and password files, several hosts, and the meaning of
//! `sslmode`. The driver knows only some of this, so the parameters are read here and handed to
//! it one by one. Passwords appear in no error, log line or debug output.

mod conninfo;
mod endpoint;
mod explain;
mod open;
mod parameters;
mod passfile;
mod redact;
mod service;
mod settings;
mod sources;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod uri;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use postgres::{CancelToken, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use self::redact::redact;
pub use self::sources::Sources;

use self::endpoint::{Address, Endpoint};
use self::settings::Settings;
use super::pooler;
use super::tls::{self, Negotiation, SslMode};
use crate::error::{Error, Kind, Result, chain};

/// What a session is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Shown in `pg_stat_activity`, for example `pupctl/partitions ensure`.
    pub application_name: String,
    /// The role to work as, when it is not the user that signs in.
    pub role: Option<String>,
}

impl Session {
    /// A session of the command, as the user that signs in.
    #[must_use]
    pub fn of(command: &str) -> Self {
        Self { application_name: format!("pupctl/{command}"), role: None }
    }

    /// What every session of pupctl sets. It is sent as statements, because poolers accept few
    /// startup parameters.
    fn apply(&self, client: &mut Client) -> Result<()> {
        client
            .batch_execute("SET client_min_messages = warning")
            .map_err(|error| Error::database("preparing the session", error))?;
        let Some(role) = &self.role else { return Ok(()) };
        let quoted = format!("\"{}\"", role.replace('"', "\"\""));
        client.batch_execute(&format!("SET ROLE {quoted}")).map_err(|error| {
            Error::database(&format!("taking on the role {quoted}"), error)
                .hint(format!("as a superuser, run: GRANT {quoted} TO the user that signs in"))
        })
    }
}

/// A resolved place to connect to. It displays as a URL without the password.
#[derive(Clone)]
pub struct Target {
    origin: &'static str,
    settings: Settings,
    endpoints: Vec<Endpoint>,
    ssl_mode: SslMode,
    negotiation: Negotiation,
    /// None when TLS is never used.
    tls: Option<MakeRustlsConnect>,
    /// Whether the search for a transaction pooler has been made; clones share it.
    probed: Arc<AtomicBool>,
}

impl Target {
    /// Merges the sources, and reads the service, password and certificate files that they name.
    pub fn resolve(sources: &Sources) -> Result<Self> {
        let (parameters, origin) = sources.parameters()?;
        let home = sources.home.as_deref();
        let settings = Settings::read(&parameters, sources.user.as_deref())?;
        let endpoints = settings::read_endpoints(&parameters, &settings, home)?;
        let tls = settings::read_tls(&parameters, home)?;
        // Sockets never use TLS, so nothing about certificates has to be right for them.
        let wanted = tls.mode != SslMode::Disable
            && endpoints.iter().any(|endpoint| matches!(endpoint.address, Address::Tcp { .. }));
        Ok(Self {
            origin,
            settings,
            endpoints,
            ssl_mode: tls.mode,
            negotiation: tls.negotiation,
            tls: wanted.then(|| tls::connector(&tls)).transpose()?,
            probed: Arc::default(),
        })
    }

    /// The place that named the database: `--database-url`, `PUPCTL_DATABASE_URL`,
    /// `DATABASE_URL`, `pupctl.toml`, `environment (PG*)` or `libpq's defaults`.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.origin
    }

    /// Whether nothing names the server or the database.
    pub(crate) fn is_default(&self) -> bool {
        self.origin == sources::DEFAULTS
    }

    /// The user that signs in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.settings.user
    }

    /// The database.
    #[must_use]
    pub fn dbname(&self) -> &str {
        &self.settings.dbname
    }

    /// The hosts with their ports, or the path of a socket.
    #[must_use]
    pub fn host_label(&self) -> String {
        let labels: Vec<String> = self.endpoints.iter().map(ToString::to_string).collect();
        labels.join(", ")
    }

    /// Whether every host is this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.endpoints.iter().all(Endpoint::is_local)
    }

    /// Opens a session: signs in, refuses a transaction pooler, then applies the settings and the
    /// role of the session. In this order, since behind such a pooler settings would stay in a
    /// connection that another program gets.
    ///
    /// The search for a pooler needs a second connection; it is made once for a target and its
    /// clones.
    pub fn connect(&self, session: &Session) -> Result<Client> {
        let mut client = self.open(session)?;
        if !self.probed.load(Ordering::Relaxed) {
            pooler::refuse_transaction_pooler(&mut client, self, session)?;
            self.probed.store(true, Ordering::Relaxed);
        }
        session.apply(&mut client)?;
        Ok(client)
    }

    /// Signs in and does nothing more: no search for a pooler, no settings, no role.
    pub fn open(&self, session: &Session) -> Result<Client> {
        open::open(self, session)
    }

    /// Cancels the statement that runs in the session of the token, over a connection with the
    /// same protection. The server does not tell whether there was one.
    pub fn cancel(&self, token: &CancelToken) -> Result<()> {
        let sent = match &self.tls {
            Some(tls) => token.cancel_query(tls.clone()),
            None => token.cancel_query(NoTls),
        };
        sent.map_err(|error| {
            Error::new(
                Kind::Connection,
                format!(
                    "the running statement could not be cancelled at {}: {}",
                    self.host_label(),
                    chain(&error)
                ),
            )
            .hint("as the same user, run: SELECT pg_cancel_backend(pid) FROM pg_stat_activity")
            .because(error)
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "postgres://{}@", encode(&self.settings.user, ""))?;
        let socket = self.endpoints.iter().find_map(|endpoint| match &endpoint.address {
            Address::Unix(folder) => Some((folder.display().to_string(), endpoint.port)),
            Address::Tcp { .. } => None,
        });
        let dbname = encode(&self.settings.dbname, "");
        match (socket, self.endpoints.as_slice()) {
            (Some((folder, port)), [_]) => {
                write!(formatter, "/{dbname}?host={}", encode(&folder, "/"))?;
                if port == 5432 { Ok(()) } else { write!(formatter, "&port={port}") }
            }
            (_, endpoints) => {
                for (index, endpoint) in endpoints.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    match &endpoint.address {
                        Address::Tcp { .. } => write!(formatter, "{comma}{endpoint}")?,
                        Address::Unix(folder) => {
                            let folder = encode(&folder.display().to_string(), "");
                            write!(formatter, "{comma}{folder}:{}", endpoint.port)?;
                        }
                    }
                }
                write!(formatter, "/{dbname}")
            }
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Target({self}, sslmode={}, from {})", self.ssl_mode, self.origin)
    }
}

/// Percent-encodes what may not stand in a part of a URL, except for the characters of `kept`.
fn encode(text: &str, kept: &str) -> String {
    let plain = |byte: u8| {
        let character = char::from(byte);
        character.is_ascii_alphanumeric() || "-._~".contains(character) || kept.contains(character)
    };
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}
