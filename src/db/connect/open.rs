//! Tries the hosts of a target until a server takes the session.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use postgres::config::SslMode as DriverMode;
use postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::endpoint::{Address, Endpoint, Role};
use super::{Session, Target, explain};
use crate::db::tls::{Negotiation, SslMode};
use crate::error::Result;

/// Why one attempt failed.
pub(super) enum Failure {
    /// The host name has no address.
    Unresolved(io::Error),
    /// Nothing came within the connect timeout.
    Silent(Duration),
    /// The driver reports it.
    Driver(postgres::Error),
    /// It is not the server that `target_session_attrs` asks for.
    WrongRole(Role),
    /// No thread could be started for the attempt.
    Thread(io::Error),
}

impl Failure {
    /// Whether other hosts need not be tried: this one answered, and said no.
    fn is_final(&self) -> bool {
        let Self::Driver(error) = self else { return false };
        let Some(code) = error.code().map(postgres::error::SqlState::code) else { return false };
        // 57P03: it starts or stops. 53300: it is full.
        !matches!(code, "57P03" | "53300")
    }
}

pub(super) fn open(target: &Target, session: &Session) -> Result<Client> {
    let mut failures = Vec::new();
    for endpoint in ordered(target) {
        for address in addresses(endpoint) {
            let failure = match address.map(|address| attempt(target, endpoint, address, session)) {
                Ok(Ok(client)) => return Ok(client),
                Ok(Err(failure)) => failure,
                Err(error) => Failure::Unresolved(error),
            };
            let last = failure.is_final();
            failures.push(explain::explain(target, endpoint, failure));
            if last {
                return Err(explain::combine(failures));
            }
        }
    }
    Err(explain::combine(failures))
}

/// The endpoints in the order of the list, or shuffled for `load_balance_hosts=random`.
fn ordered(target: &Target) -> Vec<&Endpoint> {
    let mut endpoints: Vec<&Endpoint> = target.endpoints.iter().collect();
    if target.settings.shuffle {
        // Each `RandomState` has its own keys, which is random enough to spread load.
        let random = RandomState::new();
        endpoints.sort_by_cached_key(|endpoint| random.hash_one(endpoint.to_string()));
    }
    endpoints
}

/// The addresses of a host, each of which is tried; one without an address for a socket.
fn addresses(endpoint: &Endpoint) -> Vec<io::Result<Option<IpAddr>>> {
    match &endpoint.address {
        Address::Unix(_) => vec![Ok(None)],
        Address::Tcp { address: Some(address), .. } => vec![Ok(Some(*address))],
        Address::Tcp { host, address: None } => {
            match (host.as_str(), endpoint.port).to_socket_addrs() {
                Ok(found) => found.map(|address| Ok(Some(address.ip()))).collect(),
                Err(error) => vec![Err(error)],
            }
        }
    }
}

/// Connects to one address, with and without TLS as `sslmode` allows.
fn attempt(
    target: &Target,
    endpoint: &Endpoint,
    address: Option<IpAddr>,
    session: &Session,
) -> Result<Client, Failure> {
    let once = |mode| attempt_once(target, configure(target, endpoint, address, session, mode));
    // PostgreSQL never speaks TLS over a socket.
    let mode = if address.is_none() { SslMode::Disable } else { target.ssl_mode };
    match mode {
        SslMode::Disable => once(DriverMode::Disable),
        SslMode::Allow => once(DriverMode::Disable).or_else(|failure| {
            if is_unwelcome(&failure) { once(DriverMode::Prefer) } else { Err(failure) }
        }),
        SslMode::Prefer => once(DriverMode::Prefer).or_else(|failure| {
            if !is_unwelcome(&failure) && !is_about_tls(&failure) {
                return Err(failure);
            }
            tracing::debug!("{endpoint}: no session with TLS, trying without");
            // The first failure tells more when a server wants neither.
            once(DriverMode::Disable).map_err(|second| match second {
                Failure::Driver(_) if is_unwelcome(&failure) => failure,
                second => second,
            })
        }),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => once(DriverMode::Require),
    }
}

/// Whether the server refuses sessions of this kind, with or without TLS (28000).
fn is_unwelcome(failure: &Failure) -> bool {
    matches!(failure, Failure::Driver(error)
        if error.code() == Some(&postgres::error::SqlState::INVALID_AUTHORIZATION_SPECIFICATION))
}

fn is_about_tls(failure: &Failure) -> bool {
    matches!(failure, Failure::Driver(error) if explain::is_about_tls(error))
}

fn configure(
    target: &Target,
    endpoint: &Endpoint,
    address: Option<IpAddr>,
    session: &Session,
    mode: DriverMode,
) -> Config {
    let settings = &target.settings;
    let mut config = Config::new();
    config
        .user(&settings.user)
        .dbname(&settings.dbname)
        .application_name(&session.application_name)
        .port(endpoint.port)
        .ssl_mode(mode)
        .channel_binding(settings.channel_binding)
        .target_session_attrs(settings.session_attrs)
        .keepalives(settings.keepalive.is_some())
        // The driver would log them as information, also those about this very session.
        .notice_callback(|notice| tracing::debug!("{}: {}", notice.severity(), notice.message()));
    match &endpoint.address {
        Address::Unix(folder) => config.host_path(folder),
        Address::Tcp { host, .. } => config.host(host),
    };
    if let Some(address) = address {
        config.hostaddr(address);
    }
    if target.negotiation == Negotiation::Direct && mode == DriverMode::Require {
        config.ssl_negotiation(postgres::config::SslNegotiation::Direct);
    }
    if let Some(password) = &endpoint.password {
        config.password(password.expose());
    }
    if let Some(options) = &settings.options {
        config.options(options);
    }
    if let Some(limit) = settings.connect_timeout {
        config.connect_timeout(limit);
    }
    if let Some(limit) = settings.tcp_user_timeout {
        config.tcp_user_timeout(limit);
    }
    if let Some(keepalive) = &settings.keepalive {
        config
            .keepalives_idle(keepalive.idle)
            .keepalives_interval(keepalive.interval)
            .keepalives_retries(keepalive.retries);
    }
    config
}

fn attempt_once(target: &Target, config: Config) -> Result<Client, Failure> {
    let limit = target.settings.connect_timeout;
    let mut client = connect_within(config, target.tls.clone(), limit)?;
    check_role(&mut client, target.settings.role)?;
    Ok(client)
}

/// Connects within the limit.
///
/// The driver's own timeout ends with the TCP handshake, so something that accepts connections
/// and then says nothing would hold pupctl forever. The attempt gets a thread, which is left
/// behind when the time is over.
fn connect_within(
    config: Config,
    tls: Option<MakeRustlsConnect>,
    limit: Option<Duration>,
) -> Result<Client, Failure> {
    let connect = move || match tls {
        Some(tls) => config.connect(tls),
        None => config.connect(NoTls),
    };
    let Some(limit) = limit else { return connect().map_err(Failure::Driver) };
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new()
        .name("pupctl-connect".to_owned())
        // Nobody listens any more when the time is over.
        .spawn(move || drop(sender.send(connect())))
        .map_err(Failure::Thread)?;
    match receiver.recv_timeout(limit) {
        Ok(connected) => connected.map_err(Failure::Driver),
        Err(_) => Err(Failure::Silent(limit)),
    }
}

fn check_role(client: &mut Client, role: Role) -> Result<(), Failure> {
    if role == Role::Any {
        return Ok(());
    }
    let rows =
        client.simple_query("SELECT pg_catalog.pg_is_in_recovery()").map_err(Failure::Driver)?;
    let standby = rows
        .iter()
        .any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("t")));
    if standby == (role == Role::Standby) { Ok(()) } else { Err(Failure::WrongRole(role)) }
}
