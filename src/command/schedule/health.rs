//! The health file: what the daemon does, for whatever watches it.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::command::file;
use crate::error::Result;
use crate::schedule::agenda::Entry;

/// The form of the file.
const VERSION: u32 = 1;

/// What the daemon does.
#[derive(Debug, Serialize)]
pub(super) struct Health<'a> {
    version: u32,
    /// When this was written. What is much older is of a daemon that hangs.
    at: DateTime<Utc>,
    pid: u32,
    schema: &'a str,
    /// `waiting`, `running` or `stopping`.
    state: &'static str,
    /// Whether the server answers.
    connected: bool,
    jobs: Vec<Row<'a>>,
}

/// What the daemon does, and whether the server answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doing {
    pub(super) at: DateTime<Utc>,
    pub(super) state: &'static str,
    pub(super) connected: bool,
}

/// A job, and how its last run ended.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    name: &'a str,
    command: String,
    cron: String,
    time_zone: &'static str,
    next: Option<DateTime<Utc>>,
    failures: u32,
    #[serde(flatten)]
    last: &'a Last,
}

/// The jobs, in their order.
pub(super) fn rows<'a>(entries: &'a [Entry], lasts: &'a [Last]) -> Vec<Row<'a>> {
    entries.iter().zip(lasts).map(|(entry, last)| Row::of(entry, last)).collect()
}

impl<'a> Row<'a> {
    fn of(entry: &'a Entry, last: &'a Last) -> Self {
        let job = &entry.job;
        Self {
            name: &job.name,
            command: job.line(),
            cron: job.timetable.expression.to_string(),
            time_zone: job.timetable.zone.name(),
            next: entry.planned(),
            failures: entry.failures,
            last,
        }
    }
}

/// The last run of a job, since the daemon began.
#[derive(Debug, Default, Serialize)]
pub(super) struct Last {
    pub(super) started: Option<DateTime<Utc>>,
    pub(super) ended: Option<DateTime<Utc>>,
    pub(super) succeeded: Option<DateTime<Utc>>,
    pub(super) exit_code: Option<i32>,
    pub(super) message: Option<String>,
}

/// Writes the file anew, as a whole.
pub(super) fn write(
    path: &Path,
    schema: &str,
    doing: Doing,
    entries: &[Entry],
    lasts: &[Last],
) -> Result<()> {
    let Doing { at, state, connected } = doing;
    let health = Health {
        version: VERSION,
        at,
        pid: std::process::id(),
        schema,
        state,
        connected,
        jobs: rows(entries, lasts),
    };
    let text = serde_json::to_string_pretty(&health).unwrap_or_default();
    file::replace(path, &(text + "\n"))
}
