//! What a projection is: a name, what it reads, and what it does with it.

use std::error::Error as StdError;
use std::sync::Arc;

use super::sql::SqlProjection;
use super::sql::setup::Change;
use super::transaction::Transaction;
use crate::store::StoredEvent;

/// An event as a projection gets it.
pub type Event = StoredEvent;

/// Why a handler could not handle an event: any error, so that `?` works in handlers.
pub type HandlerError = Box<dyn StdError + Send + Sync + 'static>;

/// A read model that follows the events of a store.
///
/// One instance serves all slots and all workers of a process, at the same time: it is shared, not
/// copied. What it keeps in memory it has to protect itself; better it keeps everything in its
/// tables, since another process may handle the next event of the same aggregate.
///
/// # What is promised
///
/// - Every event that is committed and in scope is handled; none is passed over because it was
///   committed later than one with a higher position.
/// - The events of an aggregate are handled in their order. With one slot, all events are.
/// - What a handler writes through its transaction is committed together with the checkpoint, or
///   not at all: **exactly once** for read models in the same database.
/// - What a handler does elsewhere (a message broker, HTTP, a file) happens **at least once**: a
///   batch whose commit fails is handled again. Send [`StoredEvent::event_id`] along, with the name
///   of the projection where several send: it is the same at every repetition. Or write the message
///   into a table in the transaction, an outbox, and send from there.
///
/// # Example
///
/// ```
/// use pupctl::projection::{Event, HandlerError, Projection, Transaction};
///
/// struct UserCount;
///
/// impl Projection for UserCount {
///     fn name(&self) -> &str {
///         "user_count"
///     }
///
///     fn bounded_contexts(&self) -> Vec<&str> {
///         vec!["Identity"]
///     }
///
///     fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
///         if event.event_type == "UserRegistered" {
///             tx.execute("UPDATE user_count SET users = users + 1", &[])?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Projection: Send + Sync {
    /// Its name, under which its checkpoints are.
    fn name(&self) -> &str;

    /// The bounded contexts that it reads; all when empty.
    fn bounded_contexts(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The types of aggregates that it reads; all when empty.
    fn aggregate_types(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The tables that it fills, as in SQL, for `pupctl projections delete --read-model`.
    fn read_model(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Handles an event. An error ends the batch, and what follows is up to
    /// [`ErrorPolicy`](super::ErrorPolicy).
    ///
    /// Do not end the transaction with SQL: the projection stops then, for what was committed comes
    /// a second time. Hand on the error of a statement that failed, or run it in a
    /// [`savepoint`](Transaction::savepoint). And do not take long: others that need the same rows
    /// wait, and the server ends a transaction that is idle for longer than
    /// [`batch_timeout`](super::ProcessorConfig::batch_timeout).
    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError>;

    /// Handles the events of a batch, in the order of their positions, for those who can do with
    /// one statement what [`handle`](Self::handle) does with many. Without it they are handled one
    /// by one.
    ///
    /// The batch is any part of what is to come: after an error the same events come again in
    /// smaller ones, down to a single event.
    fn handle_batch(&self, tx: &mut Transaction<'_>, events: &[Event]) -> Result<(), HandlerError> {
        events.iter().try_for_each(|event| self.handle(tx, event))
    }
}

/// What handles events: code of the program, or SQL.
#[derive(Clone)]
pub(super) enum Handler {
    Code(Arc<dyn Projection>),
    Sql(Arc<SqlProjection>, Change),
}

impl Handler {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Code(projection) => projection.name(),
            Self::Sql(projection, _) => projection.name(),
        }
    }

    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Code(projection) => Scope::of(&**projection),
            Self::Sql(projection, _) => projection.scope(),
        }
    }
}

/// What a projection reads, as its checkpoints have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) contexts: Vec<String>,
    pub(super) types: Vec<String>,
    pub(super) read_model: Vec<String>,
}

impl Scope {
    pub(super) fn of(projection: &dyn Projection) -> Self {
        let owned = |names: Vec<&str>| {
            let mut names: Vec<_> = names.into_iter().map(str::to_owned).collect();
            names.sort();
            names.dedup();
            names
        };
        Self {
            contexts: owned(projection.bounded_contexts()),
            types: owned(projection.aggregate_types()),
            read_model: owned(projection.read_model()),
        }
    }
}
