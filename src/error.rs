//! The one error type of the library: a kind to branch on, a message in plain words, and the
//! command or setting that mends it.

use std::error::Error as StdError;
use std::fmt;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The CHECK of a closed month. Its name is what a client without pupctl gets to read.
pub const CLOSED_CHECK: &str = "closed_use_pupctl_partitions_reopen";

/// What sort of failure it is. The binary maps each kind to an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request itself cannot be right: an argument, a setting, a file that was passed.
    Invalid,
    /// The request is understood, but a fence forbids it or the store is not in the state for it.
    Refused,
    /// Another pupctl works on the same store.
    Busy,
    /// Locks on tables were not obtained within the budget.
    LockTimeout,
    /// The server could not be reached, or refused the session.
    Connection,
    /// The server reported an error for a statement.
    Database,
    /// A file, a process or a folder of this machine.
    System,
    /// The user interrupted the run.
    Interrupted,
}

/// A failure: what is wrong and where, what to do about it, and what caused it.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    details: Vec<String>,
    hint: Option<String>,
    sqlstate: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of the given kind; `message` says what is wrong and where.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            details: Vec::new(),
            hint: None,
            sqlstate: None,
            source: None,
        }))
    }

    /// An argument, setting or file that cannot be right.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// Something that pupctl will not do in the present state of the store.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// A failure of this machine: a file, a process, a folder.
    pub fn system(message: impl Into<String>, source: std::io::Error) -> Self {
        Self::new(Kind::System, format!("{}: {source}", message.into())).because(source)
    }

    /// What PostgreSQL said, in full: SQLSTATE, detail and hint instead of `db error`.
    ///
    /// `doing` completes the sentence "failed while …", for example `reading the catalog`.
    #[must_use]
    pub fn database(doing: &str, source: postgres::Error) -> Self {
        Self::reported(doing, &source).because(source)
    }

    /// The same, for an error that another one owns.
    pub(crate) fn reported(doing: &str, source: &postgres::Error) -> Self {
        let Some(reported) = source.as_db_error() else {
            // The display of `postgres::Error` hides its cause ("error communicating with the
            // server"), so the chain is told.
            let lost = source.is_closed() || is_of_network(source);
            let kind = if lost { Kind::Connection } else { Kind::Database };
            return Self::new(kind, format!("failed while {doing}: {}", chain(source)));
        };
        let code = reported.code().code();
        let kind = match code {
            // 57P01 to 57P03: the server shuts down, crashed, or does not accept sessions yet.
            "57P01" | "57P02" | "57P03" => Kind::Connection,
            _ => Kind::Database,
        };
        if code == "23514" && reported.constraint() == Some(CLOSED_CHECK) {
            return Self::closed(doing, reported.table().unwrap_or("its partition"));
        }
        let message = format!("failed while {doing}: {} (SQLSTATE {code})", reported.message());
        let mut error = Self::new(kind, message);
        error.0.details.extend(reported.detail().map(str::to_owned));
        error.0.details.extend(reported.where_().map(|place| format!("where: {place}")));
        error.0.hint = reported.hint().map(str::to_owned);
        if code == "42501" && error.0.hint.is_none() {
            let hint = "work as the owner of the tables (--role), or ask the owner for the right";
            error.0.hint = Some(hint.to_owned());
        }
        error.0.sqlstate = Some(code.to_owned());
        error
    }

    /// An event that comes late, for a month that was closed.
    fn closed(doing: &str, partition: &str) -> Self {
        let message =
            format!("failed while {doing}: {partition} is closed, it takes no more events");
        Self::new(Kind::Refused, message)
            .hint(format!(
                "give the event a time of an open month, or open this one: pupctl partitions \
                 reopen {partition}"
            ))
            .with_sqlstate("23514")
    }

    /// The same once more, without its cause: for an error that another one owns.
    pub(crate) fn retold(&self) -> Self {
        Self(Box::new(Inner {
            kind: self.0.kind,
            message: self.0.message.clone(),
            details: self.0.details.clone(),
            hint: self.0.hint.clone(),
            sqlstate: self.0.sqlstate.clone(),
            source: None,
        }))
    }

    /// Says in front of the message what was going on.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.0.message = format!("{doing}: {}", self.0.message);
        self
    }

    /// Adds the command or the setting that mends it. A later hint replaces an earlier one.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds one line of detail, for example one difference or one blocking session.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.0.details.push(line.into());
        self
    }

    /// Adds several lines of detail.
    #[must_use]
    pub fn details<I: IntoIterator<Item = String>>(mut self, lines: I) -> Self {
        self.0.details.extend(lines);
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn because(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// Notes PostgreSQL's error code, for errors that have a message of their own.
    #[must_use]
    pub(crate) fn with_sqlstate(mut self, code: &str) -> Self {
        self.0.sqlstate = Some(code.to_owned());
        self
    }

    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What is wrong and where, one sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Further lines: differences, sessions, what the server added.
    #[must_use]
    pub fn detail_lines(&self) -> &[String] {
        &self.0.details
    }

    /// The command or the setting that mends it.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The five characters of PostgreSQL's error code, when the server reported the error.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.0.sqlstate.as_deref()
    }

    /// Whether a lock was not there in time, or two sessions waited for each other
    /// (`lock_not_available`, `deadlock_detected`): another try may succeed. Of an error of the
    /// connection nobody knows that: the server may have done what it was told.
    #[must_use]
    pub fn is_lock_failure(&self) -> bool {
        matches!(self.sqlstate(), Some("55P03" | "40P01"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Whether the network, or the socket, failed: nobody listens, or the other end is gone.
fn is_of_network(error: &(dyn StdError + 'static)) -> bool {
    error.is::<std::io::Error>() || error.source().is_some_and(is_of_network)
}

/// The messages of an error and its causes, joined; a cause that repeats its parent is left out.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let message = inner.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = inner.source();
    }
    text
}
