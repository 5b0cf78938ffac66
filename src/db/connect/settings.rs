//! Turns merged parameters, which are text, into the values of a target.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::config::{ChannelBinding, TargetSessionAttrs};

use super::endpoint::{Address, Endpoint, Password, Role};
use super::parameters::{Parameter, Parameters, wrong};
use super::passfile::{self, Login};
use super::uri;
use crate::db::tls::{Negotiation, Roots, SslMode, TlsSettings, Version};
use crate::error::{Error, Result};

/// The folders in which a server keeps its socket: Debian and Red Hat, then PostgreSQL's own.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
const DEFAULT_PORT: u16 = 5432;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a socket is kept alive while a long statement runs and nothing is sent.
#[derive(Clone)]
pub(super) struct Keepalive {
    pub(super) idle: Duration,
    pub(super) interval: Duration,
    pub(super) retries: u32,
}

/// The values that are the same for every host of a target.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) user: String,
    pub(super) dbname: String,
    pub(super) options: Option<String>,
    /// None waits without a limit.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) keepalive: Option<Keepalive>,
    pub(super) tcp_user_timeout: Option<Duration>,
    pub(super) session_attrs: TargetSessionAttrs,
    pub(super) role: Role,
    pub(super) channel_binding: ChannelBinding,
    pub(super) shuffle: bool,
}

impl Settings {
    pub(super) fn read(parameters: &Parameters, system_user: Option<&str>) -> Result<Self> {
        let user =
            parameters.value("user").or(system_user).map(str::to_owned).ok_or_else(|| {
                Error::invalid(
                    "the database user is not known: none is set, and this process has none",
                )
                .hint("write it into the URL, or set PGUSER")
            })?;
        let dbname = read_dbname(parameters)?.unwrap_or(&user).to_owned();
        if parameters.value("gssencmode") == Some("require") {
            return Err(Error::invalid(
                "gssencmode=require is not supported: pupctl has no GSSAPI",
            )
            .hint("use TLS instead: gssencmode=disable sslmode=verify-full"));
        }
        let (session_attrs, role) = read_session_attrs(parameters)?;
        Ok(Self {
            user,
            dbname,
            options: parameters.value("options").map(str::to_owned),
            connect_timeout: read_connect_timeout(parameters)?,
            keepalive: read_keepalive(parameters)?,
            tcp_user_timeout: read_number(
                parameters,
                "tcp_user_timeout",
                "a number of milliseconds",
            )?
            .filter(|millis| *millis > 0)
            .map(|millis| Duration::from_millis(millis.into())),
            session_attrs,
            role,
            channel_binding: read_choice(
                parameters,
                "channel_binding",
                &[
                    ("prefer", ChannelBinding::Prefer),
                    ("disable", ChannelBinding::Disable),
                    ("require", ChannelBinding::Require),
                ],
            )?,
            shuffle: read_choice(
                parameters,
                "load_balance_hosts",
                &[("disable", false), ("random", true)],
            )?,
        })
    }
}

fn read_dbname(parameters: &Parameters) -> Result<Option<&str>> {
    let Some(parameter) = parameters.get("dbname") else { return Ok(None) };
    // Names are shown in errors, and a URL may have a password in it.
    if uri::is_uri(&parameter.value) {
        return Err(Error::invalid(format!("dbname (from {}) is a URL", parameter.origin))
            .hint("write the name of the database there, and the URL into DATABASE_URL"));
    }
    Ok(Some(&parameter.value))
}

/// The value of a parameter that is one of some words; the first is the default.
fn read_choice<T: Copy>(parameters: &Parameters, name: &str, choices: &[(&str, T)]) -> Result<T> {
    let Some(parameter) = parameters.get(name) else { return Ok(choices[0].1) };
    choices.iter().find(|(word, _)| *word == parameter.value).map(|(_, choice)| *choice).ok_or_else(
        || {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            wrong(name, parameter, &format!("one of {}", words.join(", ")))
                .hint(format!("write one of: {}", words.join(", ")))
        },
    )
}

fn read_number(parameters: &Parameters, name: &str, expected: &str) -> Result<Option<u32>> {
    parameters
        .get(name)
        .map(|parameter| {
            parameter.value.trim().parse().map_err(|_| wrong(name, parameter, expected))
        })
        .transpose()
}

fn read_connect_timeout(parameters: &Parameters) -> Result<Option<Duration>> {
    const EXPECTED: &str = "a number of seconds";
    let Some(parameter) = parameters.get("connect_timeout") else {
        return Ok(Some(DEFAULT_CONNECT_TIMEOUT));
    };
    let seconds: i64 =
        parameter.value.trim().parse().map_err(|_| {
            wrong("connect_timeout", parameter, EXPECTED).hint("write 10, for example")
        })?;
    // As in libpq, zero and less mean no limit, and one second is too little to be meant.
    Ok(u64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds > 0)
        .map(|seconds| Duration::from_secs(seconds.max(2))))
}

fn read_keepalive(parameters: &Parameters) -> Result<Option<Keepalive>> {
    if read_number(parameters, "keepalives", "0 or 1")? == Some(0) {
        return Ok(None);
    }
    // libpq reads 0 as "the default of the system"; ours is shorter, so that a connection which a
    // firewall dropped is noticed in a minute.
    let seconds = |name, default: u32| -> Result<Duration> {
        let set = read_number(parameters, name, "a number of seconds")?;
        Ok(Duration::from_secs(set.filter(|number| *number > 0).unwrap_or(default).into()))
    };
    Ok(Some(Keepalive {
        idle: seconds("keepalives_idle", 30)?,
        interval: seconds("keepalives_interval", 10)?,
        retries: read_number(parameters, "keepalives_count", "a number")?
            .filter(|count| *count > 0)
            .unwrap_or(3),
    }))
}

fn read_session_attrs(parameters: &Parameters) -> Result<(TargetSessionAttrs, Role)> {
    const NAME: &str = "target_session_attrs";
    if parameters.value(NAME) == Some("prefer-standby") {
        return Err(Error::invalid(format!("{NAME}=prefer-standby is not supported"))
            .hint(format!("pupctl writes: use {NAME}=read-write, or primary")));
    }
    read_choice(
        parameters,
        NAME,
        &[
            ("any", (TargetSessionAttrs::Any, Role::Any)),
            ("read-write", (TargetSessionAttrs::ReadWrite, Role::Any)),
            ("read-only", (TargetSessionAttrs::ReadOnly, Role::Any)),
            ("primary", (TargetSessionAttrs::Any, Role::Primary)),
            ("standby", (TargetSessionAttrs::Any, Role::Standby)),
        ],
    )
}

/// The hosts to try, in order, each with its port and password.
pub(super) fn read_endpoints(
    parameters: &Parameters,
    settings: &Settings,
    home: Option<&Path>,
) -> Result<Vec<Endpoint>> {
    let list = |name| -> Vec<String> {
        let value = parameters.value(name).unwrap_or_default();
        value.split(',').map(|entry| entry.trim().to_owned()).collect()
    };
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = if parameters.get("hostaddr").is_some() { addresses.len() } else { hosts.len() };
    check_count(parameters.get("host"), "host", hosts.len(), count)?;
    if ports.len() > 1 {
        check_count(parameters.get("port"), "port", ports.len(), count)?;
    }
    (0..count)
        .map(|index| {
            let port = ports.get(index).or(ports.first()).map_or("", String::as_str);
            let port = read_port(port, parameters.get("port"))?;
            let host = hosts.get(index).map_or("", String::as_str);
            let numeric = addresses.get(index).map_or("", String::as_str);
            let address = read_address(host, numeric, port, parameters.get("hostaddr"))?;
            let mut endpoint = Endpoint { address, port, password: None };
            endpoint.password = find_password(parameters, settings, &endpoint, home);
            Ok(endpoint)
        })
        .collect()
}

fn check_count(set: Option<&Parameter>, name: &str, found: usize, wanted: usize) -> Result<()> {
    match set {
        Some(parameter) if found != wanted => Err(Error::invalid(format!(
            "{name} (from {}) lists {found} entries for {wanted} hosts",
            parameter.origin
        ))
        .hint("list as many hosts, addresses and ports, or a single port for all hosts")),
        _ => Ok(()),
    }
}

fn read_port(text: &str, parameter: Option<&Parameter>) -> Result<u16> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        let origin = parameter.map_or("", |parameter| parameter.origin.as_str());
        Error::invalid(format!("port is \"{text}\" (from {origin}), which is not 1 to 65535"))
            .hint("PostgreSQL listens on 5432 unless it is configured otherwise")
    })
}

fn read_address(
    host: &str,
    numeric: &str,
    port: u16,
    parameter: Option<&Parameter>,
) -> Result<Address> {
    if !numeric.is_empty() {
        let address: IpAddr = numeric.parse().map_err(|_| {
            let origin = parameter.map_or("", |parameter| parameter.origin.as_str());
            Error::invalid(format!("hostaddr \"{numeric}\" (from {origin}) is no IP address"))
                .hint("write a name into host instead")
        })?;
        let host = if host.is_empty() { numeric } else { host };
        return Ok(Address::Tcp { host: host.to_owned(), address: Some(address) });
    }
    if host.starts_with('@') {
        return Err(Error::invalid(format!("the abstract socket {host} is not supported"))
            .hint("name the folder of the socket, for example /var/run/postgresql"));
    }
    if host.starts_with('/') {
        return Ok(Address::Unix(PathBuf::from(host)));
    }
    if !host.is_empty() {
        return Ok(Address::Tcp { host: host.to_owned(), address: None });
    }
    let socket = format!(".s.PGSQL.{port}");
    let folder = SOCKET_FOLDERS.iter().find(|folder| Path::new(folder).join(&socket).exists());
    Ok(folder.map_or_else(
        || Address::Tcp { host: "localhost".to_owned(), address: None },
        |folder| Address::Unix(PathBuf::from(folder)),
    ))
}

fn find_password(
    parameters: &Parameters,
    settings: &Settings,
    endpoint: &Endpoint,
    home: Option<&Path>,
) -> Option<Password> {
    if let Some(parameter) = parameters.get("password") {
        return Some(Password::new(&parameter.value, &parameter.origin));
    }
    let path = parameters
        .value("passfile")
        .map(PathBuf::from)
        .or_else(|| home.map(|home| home.join(".pgpass")))?;
    let socket;
    let host = match &endpoint.address {
        Address::Tcp { host, .. } => host,
        // Lines for a socket in the usual folder say localhost.
        Address::Unix(folder) if SOCKET_FOLDERS.iter().any(|usual| folder == Path::new(usual)) => {
            "localhost"
        }
        Address::Unix(folder) => {
            socket = folder.display().to_string();
            &socket
        }
    };
    let login = Login { host, port: endpoint.port, dbname: &settings.dbname, user: &settings.user };
    let (password, line) = passfile::find(&path, &login)?;
    Some(Password::new(&password, &format!("{}, line {line}", path.display())))
}

/// What TLS to ask for.
pub(super) fn read_tls(parameters: &Parameters, home: Option<&Path>) -> Result<TlsSettings> {
    let folder = home.map(|home| home.join(".postgresql"));
    let default = |name: &str| folder.as_ref().map(|folder| folder.join(name));
    let (mode, roots) = read_mode_and_roots(parameters, default("root.crt"))?;
    let negotiation = read_choice(
        parameters,
        "sslnegotiation",
        &[("postgres", Negotiation::Postgres), ("direct", Negotiation::Direct)],
    )?;
    if negotiation == Negotiation::Direct && mode < SslMode::Require {
        return Err(Error::invalid("sslnegotiation=direct works with sslmode=require or stronger")
            .hint("add sslmode=verify-full, or leave sslnegotiation out"));
    }
    let with_certificate = read_choice(
        parameters,
        "sslcertmode",
        &[("allow", true), ("disable", false), ("require", true)],
    )?;
    let existing = |path: Option<PathBuf>| path.filter(|path| path.exists());
    let certificate = parameters.value("sslcert").map(PathBuf::from);
    let certificate = certificate.or_else(|| existing(default("postgresql.crt")));
    let key = parameters.value("sslkey").map(PathBuf::from).or_else(|| default("postgresql.key"));
    let versions = [
        ("TLSv1.2", Version::Tls12),
        ("TLSv1.3", Version::Tls13),
        // Older ones are not spoken at all, so as a lower bound they mean the oldest that is.
        ("TLSv1", Version::Tls12),
        ("TLSv1.1", Version::Tls12),
    ];
    let newest = [("TLSv1.3", Version::Tls13), ("TLSv1.2", Version::Tls12)];
    Ok(TlsSettings {
        mode,
        roots,
        negotiation,
        client: certificate.filter(|_| with_certificate).map(|certificate| (certificate, key)),
        server_name_indication: read_choice(parameters, "sslsni", &[("1", true), ("0", false)])?,
        oldest: read_choice(parameters, "ssl_min_protocol_version", &versions)?,
        newest: read_choice(parameters, "ssl_max_protocol_version", &newest)?,
    })
}

fn read_mode_and_roots(
    parameters: &Parameters,
    default_roots: Option<PathBuf>,
) -> Result<(SslMode, Roots)> {
    let system = parameters.value("sslrootcert") == Some("system");
    let mode = match parameters.get("sslmode") {
        None if system => SslMode::VerifyFull,
        _ => read_choice(parameters, "sslmode", &SslMode::WORDS)?,
    };
    if system {
        if mode != SslMode::VerifyFull {
            // Anybody can have a certificate from a public authority, so only the name proves.
            return Err(Error::invalid(format!(
                "sslrootcert=system needs sslmode=verify-full, and sslmode is {mode}"
            ))
            .hint("set sslmode=verify-full"));
        }
        return Ok((mode, Roots::System));
    }
    let path = parameters.value("sslrootcert").map(PathBuf::from).or(default_roots);
    let roots = match path {
        Some(path) if mode.verifies() || path.exists() => Roots::File(path),
        None if mode.verifies() => {
            return Err(Error::invalid(format!("sslmode={mode} needs root certificates"))
                .hint("set sslrootcert to their file, or to system"));
        }
        _ => Roots::None,
    };
    Ok((mode, roots))
}
