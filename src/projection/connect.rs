//! Where workers get their connections from.

use postgres::{CancelToken, Client};

use crate::db::connect::{Session, Target};
use crate::error::Result;

/// The longest `application_name` that PostgreSQL keeps, in bytes.
const APPLICATION_NAME_BYTES_MAX: usize = 63;

/// Opens connections, one for each worker and one for the settled position.
///
/// A [`Target`] connects as the command line does. A closure serves too, for a program that has
/// its own way; it gets the `application_name` by which workers of one projection find each other,
/// and has to set it on the connection: without it each takes itself to be alone, and claims as
/// many slots as are free.
///
/// ```
/// use postgres::{Client, Config, NoTls};
/// use pupctl::projection::Connect;
///
/// fn connector(config: Config) -> impl Connect {
///     move |application_name: &str| {
///         let mut config = config.clone();
///         config.application_name(application_name);
///         config.connect(NoTls).map_err(|error| pupctl::Error::database("connecting", error))
///     }
/// }
/// # connector(Client::configure());
/// ```
pub trait Connect: Send + Sync {
    /// Opens a connection with this `application_name`. It has to be a session of its own: behind
    /// a pooler that gives each transaction another one the settled position cannot be followed.
    fn connect(&self, application_name: &str) -> Result<Client>;

    /// Cancels the statement that runs in a session, where the connector can.
    fn cancel(&self, _token: &CancelToken) -> Result<()> {
        Ok(())
    }
}

impl Connect for Target {
    fn connect(&self, application_name: &str) -> Result<Client> {
        let session = Session { application_name: application_name.to_owned(), role: None };
        Self::connect(self, &session)
    }

    fn cancel(&self, token: &CancelToken) -> Result<()> {
        Self::cancel(self, token)
    }
}

/// A target, and the role to work as there.
#[derive(Debug, Clone)]
pub struct AsRole {
    /// Where.
    pub target: Target,
    /// The role, other than the user that signs in.
    pub role: String,
}

impl Connect for AsRole {
    fn connect(&self, application_name: &str) -> Result<Client> {
        let role = Some(self.role.clone());
        let session = Session { application_name: application_name.to_owned(), role };
        self.target.connect(&session)
    }

    fn cancel(&self, token: &CancelToken) -> Result<()> {
        self.target.cancel(token)
    }
}

impl<F: Fn(&str) -> Result<Client> + Send + Sync> Connect for F {
    fn connect(&self, application_name: &str) -> Result<Client> {
        self(application_name)
    }
}

/// The `application_name` of the workers of a projection, as the server keeps it.
#[must_use]
pub fn application_name(projection: &str) -> String {
    // The server shows other characters as question marks.
    let shown = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let mut name =
        format!("pupctl/projection {}", projection.chars().map(shown).collect::<String>());
    name.truncate(APPLICATION_NAME_BYTES_MAX);
    name
}
