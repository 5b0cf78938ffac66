//! Writers that append at a fixed rate, whatever else goes on, and how long each append took from
//! the time at which it was due.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::append::Ids;
use crate::guard::Pupsourcing;
use crate::machine::Database;
use crate::report::{milliseconds, percentile};

/// How many connections append.
const WRITERS: u32 = 8;

/// How many appends they make a second, all together.
const RATE: u32 = 2_000;

/// How many appends an aggregate gets.
const EACH: u32 = 20;

/// An append: when it was due, and how long after that it was committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Append {
    at: SystemTime,
    took: Duration,
}

/// What the writers noticed.
pub(super) struct Seen {
    appends: Vec<Append>,
    /// How many failed once and were made again.
    pub(super) failed: usize,
}

impl Seen {
    /// Those that were due between two times.
    pub(super) fn within(&self, from: SystemTime, to: SystemTime) -> Vec<Duration> {
        let within = self.appends.iter().filter(|append| append.at >= from && append.at < to);
        within.map(|append| append.took).collect()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Duration> {
        self.appends.iter().map(|append| append.took).collect()
    }
}

/// Count, p50, p99 and the longest, for a table.
pub(super) fn cells(times: &mut [Duration]) -> Vec<String> {
    let mut cells = vec![times.len().to_string()];
    cells.extend([50, 99, 100].map(|percent| milliseconds(percentile(times, percent))));
    cells
}

/// Does the work while they write.
pub(super) fn beside<T>(
    database: &Database,
    run: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<(Seen, T)> {
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        let running = &running;
        // Time to connect and to prepare.
        let begin = SystemTime::now() + Duration::from_millis(300);
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let due = begin + Duration::from_secs(1) * number / RATE;
                scope.spawn(move || write(database, &format!("{run}-{number}"), due, running))
            })
            .collect();
        thread::sleep(Duration::from_millis(500));
        let done = work();
        // Whoever was kept waiting is heard.
        thread::sleep(Duration::from_millis(500));
        running.store(false, Ordering::Relaxed);
        let mut seen = Seen { appends: Vec::new(), failed: 0 };
        for writer in writers {
            let (appends, failed) = writer.join().expect("no panic")?;
            seen.appends.extend(appends);
            seen.failed += failed;
        }
        Ok((seen, done?))
    })
}

/// A session that appends as pupsourcing's store does, with statements that are prepared once.
fn write(
    database: &Database,
    run: &str,
    mut due: SystemTime,
    running: &AtomicBool,
) -> Result<(Vec<Append>, usize)> {
    let mut client = database.client()?;
    let statements = Pupsourcing::prepare(&mut client)?;
    let (mut ids, mut appends, mut failed) = (Ids::new(), Vec::new(), 0);
    for number in 0.. {
        if !running.load(Ordering::Relaxed) {
            break;
        }
        if let Ok(left) = due.duration_since(SystemTime::now()) {
            thread::sleep(left);
        }
        let id = format!("{run}-{}", number / EACH);
        let mut append = || -> Result<()> {
            let mut transaction = client.transaction()?;
            statements.append(&mut transaction, &id, 1, &mut ids)?;
            Ok(transaction.commit()?)
        };
        if append().is_err() {
            // Once: whoever meets the swap may have to do it again.
            failed += 1;
            append().context("an append failed twice")?;
        }
        appends.push(Append { at: due, took: due.elapsed()? });
        due += Duration::from_secs(1) * WRITERS / RATE;
    }
    Ok((appends, failed))
}
