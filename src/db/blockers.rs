//! Who stands in the way: sessions that hold the locks which a step could not get.

use std::fmt;

use chrono::{DateTime, Utc};
use postgres::GenericClient;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::render::{Lock, LockMode};

/// A session that holds a conflicting lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocker {
    /// Its process on the server.
    pub pid: i32,
    /// Its user.
    pub user: String,
    /// What it calls itself.
    pub application_name: String,
    /// What it does, for example `idle in transaction`.
    pub state: String,
    /// When its transaction began.
    pub since: Option<DateTime<Utc>>,
    /// The lock that it holds.
    pub mode: String,
    /// On what.
    pub relation: String,
}

impl fmt::Display for Blocker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} ({}", self.pid, self.user)?;
        if !self.application_name.is_empty() {
            write!(formatter, ", {}", self.application_name)?;
        }
        write!(formatter, ", {}) holds {} on {}", self.state, self.mode, self.relation)?;
        if let Some(since) = self.since {
            write!(formatter, " since {}", since.format("%F %T UTC"))?;
        }
        Ok(())
    }
}

/// The sessions that hold locks which conflict with these, right now.
pub fn find(client: &mut impl GenericClient, locks: &[Lock]) -> Result<Vec<Blocker>> {
    let schemas: Vec<_> = locks.iter().map(|lock| lock.on.schema.as_str()).collect();
    let names: Vec<_> = locks.iter().map(|lock| lock.on.name.as_str()).collect();
    let conflicts: Vec<_> = locks.iter().map(|lock| conflicts(lock.mode).join(",")).collect();
    let rows = client
        .query(include_str!("../../sql/lock/blockers.sql"), &[&schemas, &names, &conflicts])
        .map_err(|error| Error::database("looking for blocking sessions", error))?;
    let text = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    Ok(rows
        .iter()
        .map(|row| Blocker {
            pid: row.get("pid"),
            user: text(row.get("user")),
            application_name: row.get::<_, Option<String>>("application_name").unwrap_or_default(),
            state: text(row.get("state")),
            since: row.get("since"),
            mode: row.get("mode"),
            relation: row.get("relation"),
        })
        .collect())
}

/// The modes that conflict with one, as `pg_locks` spells them (table 13.2 in the manual).
fn conflicts(mode: LockMode) -> &'static [&'static str] {
    const STRONGEST_FIRST: [&str; 8] = [
        "AccessExclusiveLock",
        "ExclusiveLock",
        "ShareRowExclusiveLock",
        "ShareLock",
        "ShareUpdateExclusiveLock",
        "RowExclusiveLock",
        "RowShareLock",
        "AccessShareLock",
    ];
    match mode {
        LockMode::AccessShare => &STRONGEST_FIRST[..1],
        LockMode::RowShare => &STRONGEST_FIRST[..2],
        LockMode::RowExclusive => &STRONGEST_FIRST[..4],
        LockMode::ShareUpdateExclusive => &STRONGEST_FIRST[..5],
        // SHARE does not conflict with itself.
        LockMode::Share => &[
            "AccessExclusiveLock",
            "ExclusiveLock",
            "ShareRowExclusiveLock",
            "ShareUpdateExclusiveLock",
            "RowExclusiveLock",
        ],
        LockMode::ShareRowExclusive => &STRONGEST_FIRST[..6],
        LockMode::AccessExclusive => &STRONGEST_FIRST,
    }
}
