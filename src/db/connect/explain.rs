//! Says in plain words why a connection failed, and what mends it.
//!
//! The driver hides most causes behind "error performing TLS handshake" or "db error", so the
//! chain of causes is searched for what is known, and the rest is told in full.

use std::error::Error as StdError;
use std::io;

use postgres::error::DbError;
use rustls::{AlertDescription, CertificateError};

use super::Target;
use super::endpoint::{Address, Endpoint, Role};
use super::open::Failure;
use crate::db::tls::SslMode;
use crate::error::{Error, Kind, chain};

/// The error of one attempt.
pub(super) fn explain(target: &Target, endpoint: &Endpoint, failure: Failure) -> Error {
    let place = Place { target, endpoint };
    match failure {
        Failure::Unresolved(error) => {
            fails(format!("the host name of {endpoint} cannot be resolved"))
                .detail(error.to_string())
                .hint(place.check_host("the spelling of the host"))
        }
        Failure::Silent(limit) => place.silent(limit.as_secs()),
        Failure::WrongRole(role) => {
            let (found, wanted) = match role {
                Role::Standby => ("is no standby", "standby"),
                _ => ("is a standby", "primary"),
            };
            fails(format!("the server at {endpoint} {found}, and target_session_attrs={wanted}"))
                .hint("list the other hosts too, or set target_session_attrs=any")
        }
        Failure::Thread(error) => Error::system("no thread could be started to connect", error),
        Failure::Driver(error) => {
            let explained = match error.as_db_error() {
                Some(reported) => place.reported(reported),
                None => place.unreported(&error),
            };
            explained.because(error)
        }
    }
}

/// One error of all attempts: the most telling first, the others as details.
pub(super) fn combine(mut failures: Vec<Error>) -> Error {
    if failures.is_empty() {
        return Error::new(Kind::Connection, "the host name has no address")
            .hint("check the spelling of the host");
    }
    // A server that answered tells more than one that did not.
    let telling = failures.iter().position(|error| error.sqlstate().is_some()).unwrap_or(0);
    let mut error = failures.remove(telling);
    let mut told = vec![error.message().to_owned()];
    for other in failures {
        // The addresses of one name mostly fail alike.
        if !told.iter().any(|message| message == other.message()) {
            told.push(other.message().to_owned());
            error = error.detail(other.message());
        }
    }
    error
}

/// Whether the failure is one of the TLS handshake.
pub(super) fn is_about_tls(error: &postgres::Error) -> bool {
    find::<rustls::Error>(error).is_some()
        || error.to_string().starts_with("error performing TLS handshake")
}

/// Searches the chain of causes. An `io::Error` leaves the error that it wraps out of its own
/// chain, so it is unwrapped.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    None
}

fn fails(message: String) -> Error {
    Error::new(Kind::Connection, message)
}

/// The place that an error is about.
struct Place<'a> {
    target: &'a Target,
    endpoint: &'a Endpoint,
}

impl Place<'_> {
    fn check_host(&self, what: &str) -> String {
        if self.target.is_default() {
            let hint = "no server is named: set PUPCTL_DATABASE_URL, or take a private one";
            return format!("{hint} with --embedded");
        }
        format!("check {what}; the database is named by {}", self.target.origin)
    }

    fn silent(&self, seconds: u64) -> Error {
        fails(format!(
            "nothing answers at {} as a PostgreSQL server would within {seconds} s",
            self.endpoint
        ))
        .hint("check host, port and firewall; a slow network needs a longer connect_timeout")
    }

    /// What the server said in words of its own.
    fn reported(&self, reported: &DbError) -> Error {
        let Self { endpoint, target } = self;
        let (user, dbname) = (target.user(), target.dbname());
        let said = reported.message();
        let error = match reported.code().code() {
            "28P01" => {
                let origin = endpoint.password.as_ref().map_or("nowhere", |given| given.origin());
                fails(format!("the server at {endpoint} refuses the password of user \"{user}\""))
                    .hint(format!("the password is from {origin}; correct it there"))
            }
            "28000" => self.unwelcome(said),
            "3D000" => {
                fails(format!("there is no database \"{dbname}\" at {endpoint}")).hint(format!(
                    "create it (createdb \"{dbname}\"), or correct the name, which is from {}",
                    target.origin
                ))
            }
            "53300" => fails(format!("the server at {endpoint} has no connection left: {said}"))
                .hint("end idle sessions (see pg_stat_activity), or raise max_connections"),
            "57P03" => {
                fails(format!("the server at {endpoint} does not accept sessions now: {said}"))
                    .hint("try again in a moment; the log of the server tells what it is doing")
            }
            "42501" => fails(format!(
                "user \"{user}\" may not connect to database \"{dbname}\" at {endpoint}: {said}"
            ))
            .hint(format!("as its owner, run: GRANT CONNECT ON DATABASE \"{dbname}\" TO …")),
            code => fails(format!(
                "the server at {endpoint} refuses the session: {said} (SQLSTATE {code})"
            ))
            .hint(reported.hint().unwrap_or("the log of the server may tell more")),
        };
        error.details(reported.detail().map(str::to_owned)).with_sqlstate(reported.code().code())
    }

    /// 28000: a rule of `pg_hba.conf`, a missing role, or an authentication that failed.
    fn unwelcome(&self, said: &str) -> Error {
        let error = fails(format!(
            "the server at {} does not let user \"{}\" in: {said}",
            self.endpoint,
            self.target.user()
        ));
        let user = self.target.user();
        if said.contains("does not exist") {
            error.hint(format!("create the role (createuser \"{user}\"), or set another user"))
        } else if said.contains("certificate") {
            error.hint("set sslcert and sslkey to a certificate for this user and its key")
        } else if said.contains("pg_hba.conf") && self.target.ssl_mode == SslMode::Disable {
            error.hint("it may accept TLS: set sslmode=require, or verify-full")
        } else if said.contains("pg_hba.conf") {
            error.hint("add a line for this client to the server's pg_hba.conf and reload it")
        } else if matches!(self.endpoint.address, Address::Unix(_)) {
            error.hint(format!("run pupctl as the system user \"{user}\", or set host=localhost"))
        } else {
            error.hint("the rules are in the server's pg_hba.conf")
        }
    }

    /// A failure below the protocol, or one of the driver.
    fn unreported(&self, error: &postgres::Error) -> Error {
        if let Some(problem) = find::<rustls::Error>(error) {
            return self.tls(problem);
        }
        let endpoint = self.endpoint;
        let told = chain(error);
        if told.contains("does not support TLS") {
            return fails(format!(
                "the server at {endpoint} does not offer TLS, and sslmode={} asks for it",
                self.target.ssl_mode
            ))
            .hint("turn ssl on in postgresql.conf, or set sslmode=prefer to go without");
        }
        if told.contains("password missing") {
            return fails(format!(
                "the server at {endpoint} asks for the password of user \"{}\", \
                     and none is given",
                self.target.user()
            ))
            .hint("set PGPASSWORD, or add a line to ~/.pgpass");
        }
        if let Some(problem) = find::<io::Error>(error) {
            return self.transport(problem);
        }
        let error = fails(format!("no session could be opened at {endpoint}: {told}"));
        if told.contains("unsupported authentication method") {
            return error.hint("pupctl signs in with a password or a client certificate");
        }
        if told.contains("channel binding") {
            return error.hint("use sslmode=require or stronger, or set channel_binding=prefer");
        }
        error.hint(self.check_host("that it is a PostgreSQL server"))
    }

    fn transport(&self, problem: &io::Error) -> Error {
        let endpoint = self.endpoint;
        // The driver reports target_session_attrs through this kind.
        let words = problem.get_ref().map(ToString::to_string).unwrap_or_default();
        if words.contains("does not allow writes") || words.contains("is not read only") {
            return fails(format!(
                "the server at {endpoint} is not the one that target_session_attrs asks for: \
                     its {words}"
            ))
            .hint("list the other hosts too, or set target_session_attrs=any");
        }
        match problem.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                fails(format!("no server answers at {endpoint}"))
                    .hint(self.check_host("that the server runs, and its host and port"))
            }
            io::ErrorKind::PermissionDenied => {
                fails(format!("this user may not use the socket {endpoint}"))
                    .hint("connect through TCP (host=localhost), or run as another user")
            }
            io::ErrorKind::TimedOut => {
                self.silent(self.target.settings.connect_timeout.map_or(0, |limit| limit.as_secs()))
            }
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => {
                fails(format!("{endpoint} closes the connection without an answer"))
                    .hint(self.check_host("that it is a PostgreSQL server, and its log"))
            }
            _ => fails(format!("{endpoint} cannot be reached: {problem}"))
                .hint(self.check_host("host, port and network")),
        }
    }

    fn tls(&self, problem: &rustls::Error) -> Error {
        match problem {
            rustls::Error::InvalidCertificate(problem) => self.certificate(problem),
            rustls::Error::AlertReceived(alert) => {
                fails(format!("the server at {} ends the TLS handshake: {alert:?}", self.endpoint))
                    .hint(match alert {
                        AlertDescription::ProtocolVersion => {
                            "it speaks no version of TLS from 1.2 on; update it"
                        }
                        _ => "it may not accept the client certificate: check sslcert and sslkey",
                    })
            }
            rustls::Error::InvalidMessage(_) => {
                fails(format!("{} does not answer the TLS handshake with TLS", self.endpoint))
                    .hint(self.check_host("that it is a PostgreSQL server"))
            }
            other => fails(format!("the TLS handshake with {} failed: {other}", self.endpoint))
                .hint("the log of the server may tell more"),
        }
    }

    /// Why the certificate of the server is not accepted.
    fn certificate(&self, problem: &CertificateError) -> Error {
        let endpoint = self.endpoint;
        let subject = format!("the certificate of the server at {endpoint}");
        match problem {
            CertificateError::NotValidForName => self.wrong_name(&[]),
            CertificateError::NotValidForNameContext { presented, .. } => {
                self.wrong_name(presented)
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                fails(format!("{subject} is not signed by an authority that sslrootcert has")).hint(
                    "set sslrootcert to the certificate of the authority that signed it, \
                     or to system for a public one",
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                fails(format!("{subject} has expired"))
                    .hint("renew it on the server and reload it; check the clock of this machine")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                fails(format!("{subject} is not valid yet"))
                    .hint("check the clocks of the server and of this machine")
            }
            CertificateError::Other(other) if other.to_string().contains("CertVersion") => {
                fails(format!("{subject} is of version 1, which cannot be verified")).hint(
                    "issue it anew as version 3 with a subjectAltName \
                     (openssl x509 -req … -extfile …)",
                )
            }
            other => fails(format!("{subject} is not acceptable: {other}"))
                .hint("issue it anew, with a subjectAltName and without CA rights"),
        }
    }

    fn wrong_name(&self, presented: &[String]) -> Error {
        let error = fails(format!(
            "the certificate of the server at {} is for another name",
            self.endpoint
        ));
        let hint = "connect by a name of the certificate; \
                    sslmode=verify-ca accepts any name of a trusted authority";
        if presented.is_empty() {
            return error
                .detail("it names no host in its subjectAltName; a common name does not count")
                .hint(format!("issue it anew with a subjectAltName, or {hint}"));
        }
        error.detail(format!("it names {}", presented.join(", "))).hint(hint)
    }
}
