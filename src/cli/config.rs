//! `pupctl.toml`: the types are the reference (`docs/reference/config.md` is made from them).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::db::execute::LockLimits;
use crate::error::{Error, Result};
use crate::layout::Context;
use crate::layout::levels::{PartitionBy, SecondLevel};
use crate::layout::name::Tables;
use crate::layout::protection::Guard;
use crate::layout::retention::Retention;
use crate::render::parameters::Parameters;

use super::schedule::ScheduleConfig;

/// The file that is read when none is named.
pub const FILE: &str = "pupctl.toml";

/// How many shares a hash level has unless told otherwise.
pub const HASH_PARTITIONS: u32 = 16;

/// The configuration file. Everything is optional; unknown keys are errors.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to connect, as `--database-url` takes it. Keep passwords out of this file: use
    /// `~/.pgpass` or `PGPASSWORD`.
    pub database_url: Option<String>,
    /// The schema of the store.
    pub schema: Option<String>,
    /// The role to work as, after signing in.
    pub role: Option<String>,
    /// The names of the store's tables.
    pub tables: TablesConfig,
    /// What `schema init` makes. The store keeps it: later commands do not read it here.
    pub layout: LayoutConfig,
    /// Bounded contexts, in addition to `--contexts`.
    pub contexts: Vec<ContextConfig>,
    /// Where migrations lie.
    pub migrations: MigrationsConfig,
    /// How to wait for locks.
    pub locks: LocksConfig,
    /// Where archives lie, and what is archived when.
    pub archive: ArchiveConfig,
    /// Projections that are written in SQL.
    pub projections: ProjectionsConfig,
    /// What `schedule run` does when.
    pub schedule: ScheduleConfig,
    /// The file itself, for errors that are found later.
    #[serde(skip)]
    pub source: Option<Source>,
}

/// The text of a configuration file, and where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The names of the store's tables.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TablesConfig {
    /// The events. Default: `events`.
    pub events: Option<String>,
    /// The current version of every aggregate. Default: `aggregate_heads`.
    pub aggregate_heads: Option<String>,
    /// How far every projection has read. Default: `projection_checkpoints`.
    pub projection_checkpoints: Option<String>,
}

/// What `schema init` makes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LayoutConfig {
    /// `none`, `context`, `hash`, `month`, `context,hash`, `context,month` or `hash,month`.
    pub partition_by: Option<String>,
    /// How many partitions a hash level has. Default: 16.
    pub hash_partitions: Option<u32>,
    /// The columns of a hash level. Default: `bounded_context`, `aggregate_type`,
    /// `aggregate_id`; below a context the last two.
    pub hash_columns: Option<Vec<String>>,
    /// How many months after the current one are kept ready. Default: 3.
    pub months: Option<u32>,
    /// What refuses one version in two months: `events` or `none`. Default: `events`.
    pub guard: Option<String>,
    /// Whether an event id is refused that any partition has, through a key table. Default: false.
    pub event_ids: Option<bool>,
    /// Whether UPDATE, DELETE and TRUNCATE of events are refused. Default: false.
    pub immutable: Option<bool>,
}

/// A bounded context.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextConfig {
    /// Its name, as events carry it.
    pub name: String,
    /// How it is divided, where not as the layout says: `none`, `hash` or `month`.
    pub partition_by: Option<String>,
    /// How many partitions its hash level has. Default: that of the layout.
    pub hash_partitions: Option<u32>,
    /// The columns of its hash level. Default: `aggregate_type`, `aggregate_id`.
    pub hash_columns: Option<Vec<String>>,
    /// How long its events stay in the store: `90 days`, `6 weeks`, `18 months`, `7 years`, or
    /// `forever`. Default: that of `[archive]`.
    pub retention: Option<String>,
}

/// Where migrations lie.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MigrationsConfig {
    /// The folder that `schema generate` fills and `schema migrate` applies. Default:
    /// `migrations`.
    pub dir: Option<PathBuf>,
}

/// Projections that are written in SQL.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectionsConfig {
    /// The folder of their files. Default: `projections`.
    pub dir: Option<PathBuf>,
    /// What stands for `{{ name }}` in them: texts, numbers, truth values, lists of texts.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub parameters: Parameters,
}

/// How to wait for locks. Times are written `500ms`, `30s`, `2m`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocksConfig {
    /// `lock_timeout` of the first try. Default: `100ms`.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub first_timeout: Option<Duration>,
    /// `lock_timeout` of the longest try. Default: `1s`.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub longest_timeout: Option<Duration>,
    /// How long to go on trying. Default: `30s`.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub budget: Option<Duration>,
    /// How long to wait for another pupctl that works on the store. Default: not at all.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub wait: Option<Duration>,
}

/// Where archives lie, and what is archived when.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveConfig {
    /// The folder in which each archive is a folder. Default: `archives`.
    pub to: Option<PathBuf>,
    /// `parquet` or `copy`. Default: `parquet`.
    pub format: Option<String>,
    /// How long events stay in the store, for contexts that do not say otherwise. Default:
    /// forever.
    pub retention: Option<String>,
    /// How long a detached table is kept after its archive was proven; then the next
    /// `archive --expired` drops it. Default: until `archive … --drop`.
    pub drop_after: Option<String>,
    /// Whether a month may leave though streams go on after it. Default: false.
    pub allow_split_streams: Option<bool>,
    /// At most so many tables are dropped in one run of `archive --expired`. Default: 12.
    pub max: Option<usize>,
}

pub(super) fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map(Some)
        .map_err(|error| serde::de::Error::custom(format!("{error}; write 500ms, 30s or 2m")))
}

impl Config {
    /// Reads the file that `--config` or `PUPCTL_CONFIG` names, or `pupctl.toml` of the working
    /// folder if there is one.
    pub fn load(named: Option<&Path>) -> Result<Self> {
        let variable = std::env::var_os("PUPCTL_CONFIG").filter(|value| !value.is_empty());
        let named = named.map(Path::to_owned).or_else(|| variable.map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| PathBuf::from(FILE));
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text, &path),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(Error::invalid(format!("cannot read {}: {error}", path.display()))),
        }
    }

    /// Reads the text of a file.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let parsed = toml::from_str(text).map_err(|error| {
            // Names line and column, and points at the place.
            let place = error.to_string();
            let mut lines = place.trim_end().lines().map(str::to_owned);
            let first = lines.next().unwrap_or_default();
            Error::invalid(format!("{}: {first}", path.display()))
                .details(lines)
                .hint("docs/reference/config.md lists all keys")
        });
        let source = Source { path: path.to_owned(), text: text.to_owned() };
        parsed.map(|config| Self { source: Some(source), ..config })
    }

    /// Says in an error where in the file its reason stands.
    #[must_use]
    pub fn blame<T>(&self, value: &Spanned<T>, error: Error) -> Error {
        let Some(source) = &self.source else { return error };
        let start = value.span().start.min(source.text.len());
        let before = &source.text[..start];
        let number = before.matches('\n').count() + 1;
        let line = source.text.lines().nth(number - 1).unwrap_or_default();
        error
            .context(format!("{}, line {number}", source.path.display()))
            .detail(format!("{number} | {}", line.trim_end()))
    }

    /// The names of the tables.
    #[must_use]
    pub fn tables(&self) -> Tables {
        let standard = Tables::default();
        let given = self.tables.clone();
        Tables {
            events: given.events.unwrap_or(standard.events),
            aggregate_heads: given.aggregate_heads.unwrap_or(standard.aggregate_heads),
            projection_checkpoints: given
                .projection_checkpoints
                .unwrap_or(standard.projection_checkpoints),
        }
    }

    /// How to wait for locks; `budget` is the flag's.
    pub fn lock_limits(&self, budget: Option<Duration>) -> Result<LockLimits> {
        let standard = LockLimits::default();
        let limits = LockLimits {
            first: self.locks.first_timeout.unwrap_or(standard.first),
            longest: self.locks.longest_timeout.unwrap_or(standard.longest),
            budget: budget.or(self.locks.budget).unwrap_or(standard.budget),
        };
        // Zero would switch lock_timeout off.
        if limits.first.is_zero() || limits.longest < limits.first {
            return Err(Error::invalid(
                "[locks] first_timeout must lie above 0 and not above longest_timeout",
            ));
        }
        Ok(limits)
    }

    /// How long the events of a context stay, or all events where the store has no contexts;
    /// `None` is forever.
    pub fn retention(&self, context: Option<&str>) -> Result<Option<Retention>> {
        let own = self.contexts.iter().find(|known| Some(known.name.as_str()) == context);
        let text =
            own.and_then(|known| known.retention.as_ref()).or(self.archive.retention.as_ref());
        text.filter(|text| *text != "forever").map(|text| text.parse()).transpose()
    }

    /// How long detached tables are kept; `None` is until somebody drops them.
    pub fn drop_after(&self) -> Result<Option<Retention>> {
        self.archive.drop_after.as_deref().map(str::parse).transpose()
    }

    /// The contexts with their own levels.
    pub fn contexts(&self) -> Result<Vec<Context>> {
        self.contexts.iter().map(|context| context.resolve(&self.layout)).collect()
    }
}

impl ContextConfig {
    fn resolve(&self, layout: &LayoutConfig) -> Result<Context> {
        let partitions = self.hash_partitions.or(layout.hash_partitions).unwrap_or(HASH_PARTITIONS);
        let Some(choice) = &self.partition_by else {
            if self.hash_columns.is_some() || self.hash_partitions.is_some() {
                return Err(Error::invalid(format!(
                    "the context `{}` has hash settings but no partition_by",
                    self.name
                ))
                .hint("add partition_by = \"hash\" to it"));
            }
            return Ok(Context::new(&self.name));
        };
        let level: SecondLevel = choice.parse()?;
        let levels = level.levels(self.hash_columns.as_deref(), partitions)?;
        Ok(Context { levels: Some(levels), ..Context::new(&self.name) })
    }
}

impl LayoutConfig {
    /// The choice of `guard`.
    pub fn guard(&self) -> Result<Option<Guard>> {
        self.guard.as_deref().map(str::parse).transpose()
    }

    /// The choice of `partition_by`.
    pub fn partition_by(&self) -> Result<Option<PartitionBy>> {
        self.partition_by.as_deref().map(str::parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config> {
        Config::parse(text, Path::new("pupctl.toml"))
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_line() {
        let error = parse("schema = \"es\"\nshcema = \"es\"\n").expect_err("an unknown key");
        let told = format!("{error}\n{}", error.detail_lines().join("\n"));
        assert!(told.contains("line 2"), "{told}");
        assert!(told.contains("shcema"), "{told}");
        assert!(parse("[layout]\nweekly = true\n").is_err());
        assert!(parse("[[contexts]]\nname = \"A\"\nhash = 3\n").is_err());
    }

    #[test]
    fn the_example_is_valid() {
        let text = include_str!("../../pupctl.example.toml");
        let config = parse(text).expect("the example");
        assert!(config.contexts().is_ok());
        // Every key that is commented out is one that exists.
        let all: String = text
            .lines()
            .map(|line| line.strip_prefix("#= ").unwrap_or(line))
            .collect::<Vec<_>>()
            .join("\n");
        let config = parse(&all).expect("the example with everything switched on");
        assert!(config.contexts().is_ok() && config.lock_limits(None).is_ok());
        assert!(config.database_url.is_some() && config.role.is_some());
    }

    #[test]
    fn times_have_units() {
        let config = parse("[locks]\nbudget = \"2m\"\n").expect("a budget");
        assert_eq!(config.lock_limits(None).expect("limits").budget, Duration::from_mins(2));
        assert!(parse("[locks]\nbudget = \"2\"\n").is_err());
        let zero = parse("[locks]\nfirst_timeout = \"0s\"\n").expect("parses");
        assert!(zero.lock_limits(None).is_err());
    }

    #[test]
    fn hash_settings_need_a_hash() {
        let config = parse("[[contexts]]\nname = \"A\"\nhash_partitions = 8\n").expect("parses");
        assert!(config.contexts().is_err());
    }
}
