//! One pupctl at a time per store: a session-level advisory lock, taken by polling.
//!
//! Never by waiting in `pg_advisory_lock`: the waiter's snapshot deadlocks with the holder's
//! `CREATE INDEX CONCURRENTLY`.

use std::time::{Duration, Instant};

use postgres::Client;

use crate::error::{Error, Kind, Result};
use crate::layout::name::fnv1a;

use super::Interrupt;

/// The first half of the key, which tells pupctl's locks from those of others: "pupc" in ASCII.
const CLASS: i32 = 0x7075_7063;

/// Time limits and modes that a role or a database may set for its applications would end DDL
/// half way; `lock_timeout` is set for each try.
const SESSION: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
     SET idle_session_timeout = 0; SET default_transaction_isolation = 'read committed'; \
     SET default_transaction_deferrable = off";

/// The same for limits that only newer servers have (17).
const NEWER: &str = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
     WHERE name = 'transaction_timeout'";

/// How often the lock is tried while waiting.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A session that holds the lock of a store. Whatever writes to a store takes one.
///
/// When it is dropped without [`Locked::release`] the connection closes, and the server gives
/// the lock back.
#[allow(missing_debug_implementations)]
pub struct Locked {
    client: Client,
    key: i32,
    schema: String,
}

impl Locked {
    /// Takes the lock of the store in `schema`, polling for at most `wait`.
    pub fn acquire(
        mut client: Client,
        schema: &str,
        wait: Duration,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        client
            .batch_execute(SESSION)
            .and_then(|()| client.batch_execute(NEWER))
            .map_err(|error| Error::database("preparing the session", error))?;
        // The bits matter, not the number.
        let key = i32::from_ne_bytes(fnv1a(schema).to_ne_bytes());
        let start = Instant::now();
        let mut told = false;
        loop {
            let row = client
                .query_one(include_str!("../../sql/lock/try.sql"), &[&CLASS, &key])
                .map_err(|error| Error::database("taking the lock of the store", error))?;
            if row.get::<_, bool>("locked") {
                crate::failpoint::reach("lock::taken");
                return Ok(Self { client, key, schema: schema.to_owned() });
            }
            interrupt.check()?;
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(busy(&mut client, key, schema, wait));
            }
            if !told {
                tracing::warn!("another pupctl works on the store, waiting for it");
                told = true;
            }
            std::thread::sleep(POLL_INTERVAL.min(left));
        }
    }

    /// The session.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// The schema of the store.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Gives the lock back, and makes sure that it was held: a pooler that swapped sessions would
    /// leave it stranded on another one.
    pub fn release(mut self) -> Result<()> {
        let row = self
            .client
            .query_one(include_str!("../../sql/lock/release.sql"), &[&CLASS, &self.key])
            .map_err(|error| Error::database("giving back the lock of the store", error))?;
        if row.get::<_, bool>("released") {
            return Ok(());
        }
        Err(Error::refused("the lock of the store was not held by this session any more")
            .hint("a pooler swapped the session: connect to the server itself with --database-url"))
    }
}

/// The first half of the keys of locks that have a name within a store: "pupn" in ASCII.
const NAMED: i32 = 0x7075_706e;

/// The second half of the key of a lock with a name, as a number.
#[must_use]
pub fn named_key(schema: &str, name: &str) -> u32 {
    fnv1a(&format!("{schema} {name}"))
}

/// Takes the lock of this name for the session, which keeps it until it ends. Whoever has it may
/// work for hours beside others that take the lock of the store.
///
/// # Errors
///
/// [`Kind::Busy`] with whoever has it, where `what` says what that one does.
pub fn take_named(client: &mut Client, schema: &str, name: &str, what: &str) -> Result<()> {
    let key = named_key(schema, name);
    take(client, NAMED, i32::from_ne_bytes(key.to_ne_bytes()), what)
}

/// The first half of the keys of locks of daemons: "pups" in ASCII.
const DAEMON: i32 = 0x7075_7073;

/// Takes the lock of the one daemon that runs the jobs of a store, for the session, which is
/// prepared to be idle for long.
///
/// # Errors
///
/// [`Kind::Busy`] with whoever has it.
pub fn take_daemon(client: &mut Client, schema: &str) -> Result<()> {
    client
        .batch_execute(SESSION)
        .and_then(|()| client.batch_execute(NEWER))
        .map_err(|error| Error::database("preparing the session", error))?;
    let half = i32::from_ne_bytes(fnv1a(schema).to_ne_bytes());
    let what = format!("another daemon runs the jobs of the store in schema {schema}");
    take(client, DAEMON, half, &what)
}

/// A session, which may be gone while another one has its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pid: i32,
    since: Option<chrono::DateTime<chrono::Utc>>,
}

/// Who holds the lock of the daemon of a store.
pub fn daemon_holder(client: &mut Client, schema: &str) -> Result<Option<Holder>> {
    let half = i32::from_ne_bytes(fnv1a(schema).to_ne_bytes());
    let holder = client
        .query_opt(include_str!("../../sql/lock/holder.sql"), &[&unsigned(DAEMON), &unsigned(half)])
        .map_err(|error| Error::database("looking for the daemon of the store", error))?;
    Ok(holder.map(|row| Holder { pid: row.get("pid"), since: row.get("since") }))
}

/// Ends a session of one's own that the server still keeps after the network has lost it.
pub fn end_lost(client: &mut Client, holder: &Holder) -> Result<()> {
    client
        .query_one(include_str!("../../sql/lock/terminate.sql"), &[&holder.pid])
        .map_err(|error| Error::database("ending a session that was lost", error))?;
    Ok(())
}

fn take(client: &mut Client, class: i32, half: i32, what: &str) -> Result<()> {
    let failed = |error| Error::database("taking a lock of the store", error);
    let row = client
        .query_one(include_str!("../../sql/lock/try.sql"), &[&class, &half])
        .map_err(failed)?;
    if row.get::<_, bool>("locked") {
        return Ok(());
    }
    let error = Error::new(Kind::Busy, what);
    let sql = include_str!("../../sql/lock/holder.sql");
    let holder = client.query_opt(sql, &[&unsigned(class), &unsigned(half)]).map_err(failed)?;
    Err(match holder {
        Some(row) => error.detail(holder_words(&row)),
        None => error,
    })
}

/// Whether any session holds the lock with a name that has this key.
pub fn is_named_held(client: &mut Client, key: u32) -> Result<bool> {
    let holder = client
        .query_opt(include_str!("../../sql/lock/holder.sql"), &[&unsigned(NAMED), &i64::from(key)])
        .map_err(|error| Error::database("looking whether an operation runs", error))?;
    Ok(holder.is_some())
}

/// `pg_locks` shows both halves as unsigned numbers.
fn unsigned(half: i32) -> i64 {
    i64::from(u32::from_ne_bytes(half.to_ne_bytes()))
}

/// Whether any session holds the lock of a store now.
pub fn is_held(client: &mut Client, schema: &str) -> Result<bool> {
    let key = i32::from_ne_bytes(fnv1a(schema).to_ne_bytes());
    let holder = client
        .query_opt(include_str!("../../sql/lock/holder.sql"), &[&unsigned(CLASS), &unsigned(key)])
        .map_err(|error| Error::database("looking for who holds the lock of the store", error))?;
    Ok(holder.is_some())
}

fn busy(client: &mut Client, key: i32, schema: &str, wait: Duration) -> Error {
    let message = format!("another pupctl works on the store in schema {schema}");
    let mut error = Error::new(Kind::Busy, message);
    let holder = client
        .query_opt(include_str!("../../sql/lock/holder.sql"), &[&unsigned(CLASS), &unsigned(key)]);
    if let Ok(Some(row)) = holder {
        error = error.detail(holder_words(&row));
    }
    if wait.is_zero() {
        error.hint("wait for it: --wait 60s")
    } else {
        error.hint("wait longer with --wait, or look for a run that hangs: pupctl schema status")
    }
}

fn holder_words(row: &postgres::Row) -> String {
    let since: Option<chrono::DateTime<chrono::Utc>> = row.get("since");
    format!(
        "held by process {} ({}, user {}, connected since {})",
        row.get::<_, i32>("pid"),
        row.get::<_, Option<String>>("application_name").unwrap_or_default(),
        row.get::<_, Option<String>>("user").unwrap_or_default(),
        since.map_or_else(String::new, |since| since.format("%F %T UTC").to_string()),
    )
}
