//! Who a statement waits for that has no `lock_timeout`, told by a session beside it.
//!
//! `CREATE INDEX CONCURRENTLY` and its kin wait for the ends of older transactions. That is right,
//! and may take as long as somebody forgets a transaction: so it is told whose it is.

use std::collections::HashSet;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{DateTime, Utc};
use postgres::Client;

use crate::error::{Error, Result};

/// How often it looks. A session is told of when it was there twice in a row.
const INTERVAL: Duration = Duration::from_millis(500);

/// Looks until it is dropped.
#[derive(Debug)]
pub struct Watch {
    thread: Option<JoinHandle<()>>,
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
        let thread = std::thread::spawn(move || {
            let mut watcher = Watcher { session, pid, last: HashSet::new(), told: HashSet::new() };
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // A session that ends takes nothing along but these words.
                if watcher.look(&tell).is_err() {
                    return;
                }
            }
        });
        Ok(Self { thread: Some(thread), stop: Some(stop) })
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
    last: HashSet<Waited>,
    told: HashSet<Waited>,
}

impl Watcher {
    fn look(&mut self, tell: &impl Fn(&str)) -> std::result::Result<(), postgres::Error> {
        let rows = self.session.query(include_str!("../../sql/lock/waits.sql"), &[&self.pid])?;
        let mut now = HashSet::new();
        for row in &rows {
            let waited: Waited = (row.get("pid"), row.get("since"));
            if self.last.contains(&waited) && self.told.insert(waited) {
                // Of sessions of others a role sees little more than the number.
                let words = ["user", "application_name", "state"]
                    .map(|column| row.get::<_, Option<String>>(column));
                let mut words: Vec<String> = words.into_iter().flatten().collect();
                words.retain(|word| !word.is_empty());
                if let Some(since) = waited.1 {
                    words.push(format!("its transaction began {}", since.format("%F %T UTC")));
                }
                tell(&format!("Waiting for process {} ({})", waited.0, words.join(", ")));
            }
            now.insert(waited);
        }
        self.last = now;
        Ok(())
    }
}
