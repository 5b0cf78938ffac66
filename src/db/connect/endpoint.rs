//! One place at which a server may answer.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// Which servers of a replication group will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Any,
    Primary,
    Standby,
}

/// A password and where it is from. It has no `Debug` that could show it.
#[derive(Clone)]
pub(super) struct Password {
    text: String,
    origin: String,
}

impl Password {
    pub(super) fn new(text: &str, origin: &str) -> Self {
        Self { text: text.to_owned(), origin: origin.to_owned() }
    }

    pub(super) fn expose(&self) -> &str {
        &self.text
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }
}

/// How the server is reached.
#[derive(Clone)]
pub(super) enum Address {
    /// The folder of a socket.
    Unix(PathBuf),
    /// A host name, and its IP address when `hostaddr` gives it.
    Tcp { host: String, address: Option<IpAddr> },
}

/// A place to connect to.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) address: Address,
    pub(super) port: u16,
    pub(super) password: Option<Password>,
}

impl Endpoint {
    pub(super) fn is_local(&self) -> bool {
        match &self.address {
            Address::Unix(_) => true,
            Address::Tcp { address: Some(address), .. } => address.is_loopback(),
            Address::Tcp { host, .. } => {
                host == "localhost"
                    || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

/// `db.example.com:5432`, or the path of the socket.
impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Unix(folder) => {
                write!(formatter, "{}/.s.PGSQL.{}", folder.display(), self.port)
            }
            Address::Tcp { host, .. } if host.contains(':') => {
                write!(formatter, "[{host}]:{}", self.port)
            }
            Address::Tcp { host, .. } => write!(formatter, "{host}:{}", self.port),
        }
    }
}
