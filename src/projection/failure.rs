//! What failed in a batch, and whether it passes by itself.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;

use crate::error::{Error, Kind};

use super::definition::{Event, HandlerError};

/// An error of a handler that passes by itself: another system is away for a while. The batch is
/// tried again after a pause, as after a lost connection, instead of looking for a bad event.
///
/// ```
/// use pupctl::projection::{HandlerError, Transient};
///
/// fn send(text: &str) -> Result<(), std::io::Error> {
/// #   let _ = text;
/// #   Ok(())
/// }
///
/// fn notify(text: &str) -> Result<(), HandlerError> {
///     send(text).map_err(|error| Transient(error.into()))?;
///     Ok(())
/// }
/// # notify("hello").unwrap();
/// ```
#[derive(Debug)]
pub struct Transient(pub HandlerError);

impl fmt::Display for Transient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl StdError for Transient {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// Why a batch failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something that passes: connect again, after a pause.
    Transient(Error),
    /// A handler refused an event of the batch, or the commit did.
    Refused(Error),
    /// Nothing that another try would help.
    Fatal(Error),
}

impl Failure {
    /// Of a statement of the processor itself.
    pub(super) fn of(error: Error) -> Self {
        if is_transient(&error) { Self::Transient(error) } else { Self::Fatal(error) }
    }

    /// Where it was no event that was refused: there is nothing that a smaller batch would help.
    pub(super) fn unless_refused(self) -> Self {
        match self {
            Self::Refused(error) => Self::Fatal(error),
            other => other,
        }
    }

    /// Of the driver, for a statement of the processor itself.
    pub(super) fn database(doing: &str, error: postgres::Error) -> Self {
        Self::of(Error::database(doing, error))
    }
}

/// Of a statement between the events of a batch, in which a handler may have left the transaction
/// in any state.
pub(super) fn between(projection: &str, doing: &str, error: postgres::Error) -> Failure {
    match error.code().map(postgres::error::SqlState::code) {
        // no_active_sql_transaction, and a savepoint that is gone.
        Some("25P01" | "3B001") => Failure::Fatal(ended(projection).because(error)),
        // in_failed_sql_transaction
        Some("25P02") => Failure::Refused(
            Error::refused("a statement of the handler failed, and it went on")
                .hint("let the handler hand the error on, or run the statement in a savepoint")
                .because(error),
        ),
        _ => match Failure::database(doing, error) {
            Failure::Fatal(error) => Failure::Refused(error),
            other => other,
        },
    }
}

/// The transaction of a batch is not the one that it began with.
pub(super) fn ended(projection: &str) -> Error {
    Error::refused(format!(
        "a handler of the projection {projection} ended the transaction of its batch"
    ))
    .detail("what it had committed by then will come again, for the checkpoint has not moved")
    .hint("let the handler run no COMMIT and no ROLLBACK; a savepoint is Transaction::savepoint")
}

/// Whether starting again is of no use: somebody has to do something about it.
pub(super) fn is_lasting(error: &Error) -> bool {
    matches!(error.kind(), Kind::Refused | Kind::Invalid)
        || error.sqlstate().is_some_and(|code| {
            // A table, a column, a right that is missing; no such database.
            code.starts_with("42") || matches!(code, "3D000" | "3F000")
        })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::of(error)
    }
}

/// Whether an error passes: the server is away, or the transaction lost against another one.
pub(super) fn is_transient(error: &Error) -> bool {
    match error.sqlstate() {
        Some(code) => {
            // Lost against others, timed out or cancelled, read-only for a while after a failover;
            // classes: no connection, no room, the operator, the system around the server.
            matches!(code, "40001" | "40P01" | "55P03" | "25P03" | "25006")
                || ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
        }
        None => error.kind() == Kind::Connection,
    }
}

/// What a handler said, as an error of this crate; and whether it passes.
pub(super) fn of_handler(error: &HandlerError) -> (Error, bool) {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&**error);
    let mut transient = false;
    while let Some(inner) = cause {
        if inner.is::<Transient>() {
            transient = true;
        }
        if let Some(ours) = inner.downcast_ref::<Error>() {
            transient |= is_transient(ours);
            return (ours.retold(), transient);
        }
        if let Some(theirs) = inner.downcast_ref::<postgres::Error>() {
            let reported = Error::reported("handling it", theirs);
            transient |= theirs.is_closed() || is_transient(&reported);
            return (reported, transient);
        }
        cause = inner.source();
    }
    (Error::refused(crate::error::chain(&**error)), transient)
}

/// What somebody panicked with: a handler, or a worker around it.
pub(super) fn of_panic(who: &str, panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    let text = text.unwrap_or_else(|| "without a message".to_owned());
    Error::refused(format!("the {who} panicked: {text}"))
}

/// The error of a projection that stops at an event.
pub(super) fn stopped(projection: &str, event: &Event, cause: &Error) -> Error {
    let retry = format!(
        "mend the handler and start again, or let it park such events (projections run --on-error \
         park; in a program ErrorPolicy::Park); pupctl projections status {projection} tells where \
         it stands"
    );
    Error::refused(format!(
        "the projection {projection} stopped at position {}: {}",
        event.global_position,
        cause.message()
    ))
    .detail(format!(
        "event {} ({}) of {}, version {}",
        event.event_id,
        event.event_type,
        event.stream(),
        event.aggregate_version
    ))
    .details(cause.detail_lines().iter().cloned())
    .hint(retry)
}
