//! Finds out whether a pooler in transaction mode stands between pupctl and the server.
//!
//! Behind one, each transaction may run in another server process. Advisory locks then stay in a
//! process that other programs get, `SET` reaches strangers, and `CONCURRENTLY` runs without its
//! lock. No pooler says what it is, so its behaviour is observed: while a second connection holds
//! a transaction open, the first one is served by the same process as before exactly when it has
//! that process for itself. Only simple queries are sent, since prepared statements fail behind
//! some poolers.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use postgres::{CancelToken, Client, SimpleQueryMessage};

use super::connect::{Session, Target};
use crate::error::{Error, Result, chain};

const BACKEND: &str = include_str!("../../sql/connect/backend.sql");

/// A pooler that hands its servers out in turn may give the first connection the same one once.
const ROUNDS: usize = 3;

/// How long the second connection may take to begin. Behind a pooler in session mode whose only
/// server the first connection has, it never does.
const BEGIN_LIMIT: Duration = Duration::from_secs(5);

/// How long the second connection holds its transaction at most: the first one may be waiting for
/// the very server that it holds.
const HOLD_LIMIT: Duration = Duration::from_secs(2);

/// One server process: its id and when its session began.
type Backend = (String, String);

/// What the two connections showed.
enum Seen {
    /// The first connection has a server process for itself.
    Own,
    /// It shares server processes with others.
    Shared,
    /// The second connection ended when it began a transaction.
    Ended,
    /// The question stays open.
    Unknown,
}

/// Refuses to go on when `client` is served through a pooler in transaction or statement mode.
///
/// It opens a second connection to the same target. When the server has none left, the question
/// stays open and the answer is yes: a pooler would have had one.
///
/// Call it before anything is set in the session. [`Target::connect`] does.
pub fn refuse_transaction_pooler(
    client: &mut Client,
    target: &Target,
    session: &Session,
) -> Result<()> {
    // A pooler in statement mode ends a connection that begins a transaction. An administrator
    // may end one too, but not twice in a row.
    for _ in 0..2 {
        match observe(client, target, session)? {
            Seen::Own | Seen::Unknown => return Ok(()),
            Seen::Shared => return Err(refusal(target)),
            Seen::Ended => {}
        }
    }
    Err(refusal(target))
}

fn observe(client: &mut Client, target: &Target, session: &Session) -> Result<Seen> {
    let second = match target.open(session) {
        Ok(second) => second,
        Err(error) => {
            tracing::debug!("no second connection to look for a pooler with: {error}");
            return Ok(Seen::Unknown);
        }
    };
    let Some(mut served_by) = backend(client).map_err(failed)? else { return Ok(Seen::Unknown) };
    let Some(holder) = Holder::start(second, target) else { return Ok(Seen::Unknown) };
    for _ in 0..ROUNDS {
        let held = match holder.hold() {
            Ok(held) => held,
            Err(seen) => return Ok(seen),
        };
        if held == served_by {
            return Ok(Seen::Shared);
        }
        let now = backend(client).map_err(failed)?;
        holder.release();
        match now {
            Some(now) if now == served_by => served_by = now,
            _ => return Ok(Seen::Shared),
        }
    }
    Ok(Seen::Own)
}

fn refusal(target: &Target) -> Error {
    Error::refused(format!(
        "{} is a connection pooler in transaction mode, and pupctl needs a session of its own",
        target.host_label()
    ))
    .detail("advisory locks, SET and CONCURRENTLY would reach sessions of other programs")
    .hint(
        "connect directly to the server, for example by setting PUPCTL_DATABASE_URL; \
         a pooler in session mode works too",
    )
}

fn failed(error: postgres::Error) -> Error {
    Error::database("looking for a connection pooler", error)
}

fn backend(client: &mut Client) -> Result<Option<Backend>, postgres::Error> {
    Ok(read_backend(&client.simple_query(BACKEND)?))
}

fn read_backend(messages: &[SimpleQueryMessage]) -> Option<Backend> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get(0)?.to_owned(), row.get(1)?.to_owned())),
        _ => None,
    })
}

enum Order {
    Hold,
    Release,
}

/// The second connection, on a thread of its own so that waiting for it has a limit.
struct Holder<'a> {
    orders: Sender<Order>,
    answers: Receiver<Answer>,
    cancel: CancelToken,
    target: &'a Target,
}

type Answer = Result<Option<Backend>, postgres::Error>;

impl<'a> Holder<'a> {
    /// None when there is no thread to be had.
    fn start(client: Client, target: &'a Target) -> Option<Self> {
        let (orders, received) = channel();
        let (sender, answers) = channel();
        let cancel = client.cancel_token();
        std::thread::Builder::new()
            .name("pupctl-pooler".to_owned())
            .spawn(move || follow(client, &received, &sender))
            .inspect_err(|error| tracing::debug!("no thread to look for a pooler with: {error}"))
            .ok()?;
        Some(Self { orders, answers, cancel, target })
    }

    /// Begins a transaction, and tells which process serves it.
    fn hold(&self) -> Result<Backend, Seen> {
        // A thread that is gone does not answer either, which the next lines notice.
        let _ = self.orders.send(Order::Hold);
        let answer = match self.answers.recv_timeout(BEGIN_LIMIT) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => return Err(Seen::Ended),
            Err(RecvTimeoutError::Timeout) => {
                tracing::debug!("the second connection waits too long to look for a pooler");
                // Takes it out of the queue of the pooler. There is nothing to do if that fails.
                let _ = self.target.cancel(&self.cancel);
                return Err(Seen::Unknown);
            }
        };
        answer.map_err(|error| ended_by(&error))?.ok_or(Seen::Unknown)
    }

    fn release(&self) {
        let _ = self.orders.send(Order::Release);
    }
}

/// What it means that a transaction could not begin.
fn ended_by(error: &postgres::Error) -> Seen {
    tracing::debug!("the second connection could not begin: {}", chain(error));
    match error.as_db_error() {
        // PgBouncer says "transaction blocks not allowed in statement pooling mode", but closes
        // the connection so fast that the driver often sees only that.
        Some(reported) if reported.message().contains("statement pooling") => Seen::Shared,
        Some(_) => Seen::Unknown,
        None => Seen::Ended,
    }
}

/// The thread: one transaction for each order to hold.
fn follow(mut client: Client, orders: &Receiver<Order>, answers: &Sender<Answer>) {
    while let Ok(order) = orders.recv() {
        if matches!(order, Order::Release) {
            // It comes late: the limit has released the transaction already.
            continue;
        }
        let begun = client.simple_query(&format!("BEGIN; {BACKEND}"));
        let ended = begun.is_err();
        if answers.send(begun.map(|messages| read_backend(&messages))).is_err() || ended {
            return;
        }
        let _ = orders.recv_timeout(HOLD_LIMIT);
        if client.batch_execute("COMMIT").is_err() {
            return;
        }
    }
}
