//! Who a statement waits for that has no `lock_timeout`, told by a session beside it.
//!
//! `CREATE INDEX CONCURRENTLY` and its kin wait for the ends of older transactions. That is right,
//! and may take as long as somebody forgets a transaction: so it is told whose it is.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use postgres::{Client, Row};

use crate::error::{Error, Result};

/// How often it looks: even the shortest turn at a lock is seen.
const INTERVAL: Duration = Duration::from_millis(100);

/// A session is told of when it is waited for as long as this.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long what was seen explains why a lock was not obtained.
const RECENT: Duration = Duration::from_secs(5);

/// The sessions that were waited for last, in words, and when.
type Seen = Arc<Mutex<Option<(Instant, Vec<String>)>>>;

/// Looks until it is dropped.
#[derive(Debug)]
pub struct Watch {
    thread: Option<JoinHandle<()>>,
    seen: Seen,
    /// Dropped to end the thread.
    stop: Option<Sender<()>>,
}

impl Watch {
    /// Looks through `session` for whom `client` waits.
    pub fn begin(
        client: &mut Client,
        session: Client,
        tell: impl Fn(&str) + Send + 'static,
    ) -> Result<Self> {
        let row = client
            .query_one(include_str!("../../sql/lock/pid.sql"), &[])
            .map_err(|error| Error::database("asking for the number of the session", error))?;
        let pid: i32 = row.get("pid");
        let (stop, stopped) = mpsc::channel::<()>();
        let seen = Seen::default();
        let mut watcher = Watcher {
            session,
            pid,
            seen: Arc::clone(&seen),
            last: HashMap::new(),
            told: HashSet::new(),
        };
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // A session that ends takes nothing along but these words.
                if watcher.look(&tell).is_err() {
                    return;
                }
            }
        });
        Ok(Self { thread: Some(thread), seen, stop: Some(stop) })
    }

    /// The sessions that were waited for a moment ago.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        match &*self.seen.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((when, lines)) if when.elapsed() < RECENT => lines.clone(),
            _ => Vec::new(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing more to tell.
            let _ = thread.join();
        }
    }
}

/// A session and its transaction.
type Waited = (i32, Option<DateTime<Utc>>);

struct Watcher {
    session: Client,
    pid: i32,
    seen: Seen,
    /// Since when the sessions are waited for.
    last: HashMap<Waited, Instant>,
    told: HashSet<Waited>,
}

impl Watcher {
    fn look(&mut self, tell: &impl Fn(&str)) -> std::result::Result<(), postgres::Error> {
        let rows = self.session.query(include_str!("../../sql/lock/waits.sql"), &[&self.pid])?;
        let now = Instant::now();
        let mut waits = HashMap::new();
        for row in &rows {
            let waited: Waited = (row.get("pid"), row.get("since"));
            let begin = self.last.get(&waited).copied().unwrap_or(now);
            if now - begin >= PATIENCE && self.told.insert(waited) {
                tell(&format!("Waiting for {}", words(row, waited)));
            }
            waits.insert(waited, begin);
        }
        self.last = waits;
        if !rows.is_empty() {
            let lines = rows.iter().map(|row| words(row, (row.get("pid"), row.get("since"))));
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen = Some((now, lines.collect()));
        }
        Ok(())
    }
}

/// Of sessions of others a role sees little more than the number.
fn words(row: &Row, (pid, since): Waited) -> String {
    let words =
        ["user", "application_name", "state"].map(|column| row.get::<_, Option<String>>(column));
    let mut words: Vec<String> = words.into_iter().flatten().collect();
    words.retain(|word| !word.is_empty());
    if let Some(since) = since {
        words.push(format!("its transaction began {}", since.format("%F %T UTC")));
    }
    format!("process {pid} ({})", words.join(", "))
}
