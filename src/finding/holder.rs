//! Transactions that hold up the settled position: as long as they are open, they may still add
//! events below it.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// A transaction that may have drawn positions, and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Its process on the server; a prepared transaction has none.
    pub pid: Option<i32>,
    /// The name of the prepared transaction, where it is one.
    pub prepared: Option<String>,
    /// Its user.
    pub user: String,
    /// What it calls itself.
    pub application_name: String,
    /// What it does, for example `idle in transaction`.
    pub state: String,
    /// When the transaction began, or was prepared.
    pub since: Option<DateTime<Utc>>,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.prepared, self.pid) {
            (Some(name), _) => write!(formatter, "the prepared transaction {name:?}")?,
            (None, Some(pid)) => write!(formatter, "process {pid}")?,
            (None, None) => formatter.write_str("a prepared transaction")?,
        }
        let words = [&self.user, &self.application_name, &self.state];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        if !words.is_empty() {
            let words: Vec<&str> = words.into_iter().map(String::as_str).collect();
            write!(formatter, " ({})", words.join(", "))?;
        }
        match self.since {
            Some(since) => write!(formatter, ", open since {}", since.format("%F %T UTC")),
            None => Ok(()),
        }
    }
}
