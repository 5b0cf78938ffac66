//! Where connection parameters come from, and which place wins.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::parameters::Parameters;
use super::{conninfo, service, uri};
use crate::error::{Error, Result};

/// Everything from which a connection is resolved. It is plain input, so tests pass their own.
///
/// The first of these that is set and not empty gives the URL: `--database-url`,
/// `PUPCTL_DATABASE_URL`, `DATABASE_URL`, the `url` of the configuration file. What the URL leaves
/// out comes from the service that it or `PGSERVICE` names, then from the `PG*` variables, then
/// from libpq's defaults.
#[derive(Clone, Default)]
pub struct Sources {
    /// The flag `--database-url`.
    pub database_url: Option<String>,
    /// The `url` of `pupctl.toml`.
    pub config_url: Option<String>,
    /// The environment variables.
    pub environment: BTreeMap<String, String>,
    /// The home folder, for `~/.pgpass`, `~/.pg_service.conf` and `~/.postgresql/`.
    pub home: Option<PathBuf>,
    /// The user of the operating system, which is the default for the database user.
    pub user: Option<String>,
}

/// The place that names the database when nothing does.
pub(super) const DEFAULTS: &str = "libpq's defaults";

impl Sources {
    /// The sources of this process.
    #[must_use]
    pub fn from_process(database_url: Option<String>, config_url: Option<String>) -> Self {
        // A variable that is not UTF-8 cannot be one of ours.
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let account = Account::current();
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        let home = set("HOME").map(PathBuf::from).or_else(|| account.as_ref()?.home.clone());
        let user =
            account.map(|account| account.name).or_else(|| set("LOGNAME")).or_else(|| set("USER"));
        Self { database_url, config_url, environment, home, user }
    }

    /// The URL or connection string that wins, and where it is from.
    fn url(&self) -> Option<(&str, &'static str)> {
        let variable = |name: &str| self.environment.get(name).map(String::as_str);
        [
            (self.database_url.as_deref(), "--database-url"),
            (variable("PUPCTL_DATABASE_URL"), "PUPCTL_DATABASE_URL"),
            (variable("DATABASE_URL"), "DATABASE_URL"),
            (self.config_url.as_deref(), "pupctl.toml"),
        ]
        .into_iter()
        .find_map(|(url, origin)| Some((url?.trim(), origin)).filter(|(url, _)| !url.is_empty()))
    }

    /// All parameters, merged, and the name of the place that chose the target.
    pub(super) fn parameters(&self) -> Result<(Parameters, &'static str)> {
        let environment = Parameters::from_environment(&self.environment)?;
        let (mut parameters, mut origin) = match self.url() {
            Some((url, origin)) => (parse(url, origin)?, origin),
            None => (Parameters::default(), "environment (PG*)"),
        };
        let service = parameters.get("service").or(environment.get("service")).cloned();
        if let Some(service) = service {
            let file = parameters.value("servicefile").or(environment.value("servicefile"));
            let files = service::files(file, &self.environment, self.home.as_deref());
            parameters.fill(&service::load(&service.value, &service.origin, &files)?);
        }
        parameters.fill(&environment);
        let named = ["host", "hostaddr", "port", "dbname"];
        if self.url().is_none() && named.iter().all(|name| parameters.get(name).is_none()) {
            origin = DEFAULTS;
        }
        Ok((parameters, origin))
    }
}

/// Variables and URLs hold passwords, so the debug output has none of them.
impl fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sources").field("user", &self.user).finish_non_exhaustive()
    }
}

fn parse(text: &str, origin: &str) -> Result<Parameters> {
    if uri::is_uri(text) {
        uri::parse(text, origin)
    } else if text.contains("://") {
        Err(Error::invalid(format!("the database URL from {origin} is not for PostgreSQL"))
            .hint("write postgres://user@host:5432/database"))
    } else {
        conninfo::parse(text, origin)
    }
}

/// The entry of this process's user in the password database.
struct Account {
    name: String,
    home: Option<PathBuf>,
}

impl Account {
    /// Looks in `/etc/passwd`; users of a directory service are known by their variables instead.
    fn current() -> Option<Self> {
        let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
        let id = rustix::process::geteuid().as_raw().to_string();
        accounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.get(2) == Some(&id.as_str())).then(|| Self {
                name: fields[0].to_owned(),
                home: fields.get(5).filter(|home| !home.is_empty()).map(PathBuf::from),
            })
        })
    }
}
