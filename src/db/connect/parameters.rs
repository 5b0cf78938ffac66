//! The connection parameters of libpq: which there are, which environment variable stands for
//! each, and what pupctl does with it. Every value remembers where it came from, so that an
//! error can name the place to mend.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, Result};

/// What pupctl does with a parameter that libpq knows.
#[derive(Clone, Copy)]
enum Support {
    /// It is honoured.
    Used,
    /// It changes nothing that matters to pupctl, so a URL shared with other programs may have it.
    Ignored,
    /// Ignoring it would be wrong: it asks for a protection that pupctl cannot give.
    Refused(&'static str),
}

use Support::{Ignored, Refused, Used};

const NO_CRL: &str = "pupctl does not read revocation lists";
const NO_KEY_PASSWORD: &str = "pupctl reads only client keys without a password";
const NO_OAUTH: &str = "pupctl does not sign in through OAuth";
const NO_SCRAM_KEYS: &str = "pupctl signs in with a password, not with SCRAM keys";

/// Name, environment variable, and what pupctl does with it.
const KNOWN: &[(&str, Option<&str>, Support)] = &[
    ("application_name", None, Ignored),
    ("authtype", None, Ignored),
    ("channel_binding", Some("PGCHANNELBINDING"), Used),
    ("client_encoding", None, Ignored),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT"), Used),
    ("dbname", Some("PGDATABASE"), Used),
    ("fallback_application_name", None, Ignored),
    ("gssdelegation", None, Ignored),
    ("gssencmode", Some("PGGSSENCMODE"), Used),
    ("gsslib", None, Ignored),
    ("host", Some("PGHOST"), Used),
    ("hostaddr", Some("PGHOSTADDR"), Used),
    ("keepalives", None, Used),
    ("keepalives_count", None, Used),
    ("keepalives_idle", None, Used),
    ("keepalives_interval", None, Used),
    ("krbsrvname", None, Ignored),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), Used),
    ("max_protocol_version", None, Ignored),
    ("min_protocol_version", None, Ignored),
    ("oauth_client_id", None, Refused(NO_OAUTH)),
    ("oauth_client_secret", None, Refused(NO_OAUTH)),
    ("oauth_issuer", None, Refused(NO_OAUTH)),
    ("oauth_scope", None, Refused(NO_OAUTH)),
    ("options", Some("PGOPTIONS"), Used),
    ("passfile", Some("PGPASSFILE"), Used),
    ("password", Some("PGPASSWORD"), Used),
    ("port", Some("PGPORT"), Used),
    ("replication", None, Refused("pupctl opens ordinary sessions only")),
    ("require_auth", Some("PGREQUIREAUTH"), Refused("pupctl cannot restrict how a server asks")),
    ("requirepeer", Some("PGREQUIREPEER"), Refused("pupctl cannot see who owns a socket's server")),
    ("scram_client_key", None, Refused(NO_SCRAM_KEYS)),
    ("scram_server_key", None, Refused(NO_SCRAM_KEYS)),
    ("service", Some("PGSERVICE"), Used),
    ("servicefile", Some("PGSERVICEFILE"), Used),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION"), Used),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), Used),
    ("sslcert", Some("PGSSLCERT"), Used),
    ("sslcertmode", Some("PGSSLCERTMODE"), Used),
    ("sslcompression", None, Ignored),
    ("sslcrl", Some("PGSSLCRL"), Refused(NO_CRL)),
    ("sslcrldir", Some("PGSSLCRLDIR"), Refused(NO_CRL)),
    ("sslkey", Some("PGSSLKEY"), Used),
    ("sslkeylogfile", None, Refused("pupctl never writes the keys of a TLS session")),
    ("sslmode", Some("PGSSLMODE"), Used),
    ("sslnegotiation", Some("PGSSLNEGOTIATION"), Used),
    ("sslpassword", None, Refused(NO_KEY_PASSWORD)),
    ("sslrootcert", Some("PGSSLROOTCERT"), Used),
    ("sslsni", Some("PGSSLSNI"), Used),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Used),
    ("tcp_user_timeout", None, Used),
    ("user", Some("PGUSER"), Used),
];

/// Whether libpq knows a parameter of this name.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|(known, _, _)| *known == name)
}

/// One value and the place that set it.
#[derive(Clone)]
pub(super) struct Parameter {
    pub(super) value: String,
    pub(super) origin: String,
}

/// Values by name. Its debug output shows names only, since one of the values is the password.
#[derive(Clone, Default)]
pub(super) struct Parameters(BTreeMap<&'static str, Parameter>);

impl Parameters {
    /// The parameters that the environment variables of libpq set.
    pub(super) fn from_environment(environment: &BTreeMap<String, String>) -> Result<Self> {
        let mut parameters = Self::default();
        for (name, variable, _) in KNOWN {
            let Some(variable) = variable else { continue };
            // An empty variable is how a shell script says "not set".
            if let Some(value) = environment.get(*variable).filter(|value| !value.is_empty()) {
                parameters.set(name, value.clone(), variable)?;
            }
        }
        Ok(parameters)
    }

    /// Sets a parameter, replacing an earlier value.
    pub(super) fn set(&mut self, name: &str, value: String, origin: &str) -> Result<()> {
        let Some((known, _, support)) = KNOWN.iter().find(|(known, _, _)| *known == name) else {
            return Err(unknown(Some(name), origin));
        };
        match support {
            Ignored => return Ok(()),
            Refused(_) if value.is_empty() => return Ok(()),
            Refused(reason) => {
                return Err(Error::invalid(format!(
                    "the connection parameter {name} (from {origin}) is not supported: {reason}"
                ))
                .hint(format!("leave {name} out")));
            }
            Used => {}
        }
        self.0.insert(known, Parameter { value, origin: origin.to_owned() });
        Ok(())
    }

    /// Takes from `other` what is not set here, as libpq falls back from one source to the next.
    pub(super) fn fill(&mut self, other: &Self) {
        for (name, parameter) in &other.0 {
            self.0.entry(name).or_insert_with(|| parameter.clone());
        }
    }

    /// The value and its origin; an empty value counts as none, as in libpq.
    pub(super) fn get(&self, name: &str) -> Option<&Parameter> {
        debug_assert!(is_known(name), "{name} is no connection parameter");
        self.0.get(name).filter(|parameter| !parameter.value.is_empty())
    }

    /// The value alone.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(|parameter| parameter.value.as_str())
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// A parameter that libpq does not know either. The name is left out where it may be a piece of a
/// password that was not quoted.
pub(super) fn unknown(name: Option<&str>, origin: &str) -> Error {
    let what = name.map_or_else(
        || "a connection parameter that PostgreSQL does not know".to_owned(),
        |name| format!("the connection parameter \"{name}\", which PostgreSQL does not know"),
    );
    Error::invalid(format!("{origin} sets {what}")).hint(
        "leave it out; a setting of the server goes into options, \
         for example options=-csearch_path%3Dapp",
    )
}

/// A value that the parameter cannot have.
pub(super) fn wrong(name: &str, parameter: &Parameter, expected: &str) -> Error {
    Error::invalid(format!(
        "{name} is \"{}\" (from {}), which is not {expected}",
        parameter.value, parameter.origin
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_parameter_is_named() {
        let error = Parameters::default().set("schema", "app".into(), "DATABASE_URL").unwrap_err();
        assert_eq!(
            error.message(),
            "DATABASE_URL sets the connection parameter \"schema\", \
             which PostgreSQL does not know"
        );
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_and_what_does_not_matter_is_ignored() {
        let mut parameters = Parameters::default();
        let error = parameters.set("sslcrl", "a.crl".into(), "PGSSLCRL").unwrap_err();
        assert!(error.message().contains("does not read revocation lists"), "{error}");
        parameters.set("application_name", "mine".into(), "DATABASE_URL").unwrap();
        assert!(parameters.get("application_name").is_none());
    }

    #[test]
    fn debug_output_has_no_values() {
        let mut parameters = Parameters::default();
        parameters.set("password", "secret".into(), "PGPASSWORD").unwrap();
        assert_eq!(format!("{parameters:?}"), "{\"password\"}");
    }
}
