//! `[schedule]` of `pupctl.toml`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::config::duration;

/// What `schedule run` does when. Without jobs there are two: `partitions ensure` once a day and
/// `partitions check --exit-code` once an hour.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Whose times those of the jobs are: `Europe/Berlin`. Default: `UTC`.
    #[schemars(with = "Option<String>")]
    pub time_zone: Option<Spanned<String>>,
    /// Each run begins up to so much later than its time, so that the jobs of many stores do not
    /// begin at once. Default: `30s`.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub jitter: Option<Duration>,
    /// The pause after a job has failed; each further failure doubles it, up to half an hour.
    /// Default: `1m`.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub retry: Option<Duration>,
    /// How long a job may run: then it is ended, as a failure. Default: `12h`.
    #[serde(deserialize_with = "duration")]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
    /// The jobs.
    pub jobs: Vec<JobConfig>,
}

/// A command and when it runs.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobConfig {
    /// Its name: small letters, digits and hyphens.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// The command, without `pupctl`: `partitions ensure --months 6`.
    #[schemars(with = "String")]
    pub command: Spanned<String>,
    /// When, as a crontab has it: minute, hour, day of the month, month, day of the week; or
    /// `@daily` and its kin.
    #[schemars(with = "String")]
    pub cron: Spanned<String>,
    /// The time zone of this job. Default: that of `[schedule]`.
    #[schemars(with = "Option<String>")]
    #[serde(default)]
    pub time_zone: Option<Spanned<String>>,
}
