//! Work that several sessions share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use postgres::Client;

use crate::db::Interrupt;
use crate::error::{Error, Result};

/// How often the one who waits for the others looks around.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The longest rest: others have caught up by then.
const REST_LONGEST: Duration = Duration::from_mins(5);

/// A session that works for a conversion.
#[allow(missing_debug_implementations)]
pub struct Worker {
    /// The session.
    pub client: Client,
    /// Cancels what it runs.
    pub cancel: Box<dyn Fn() + Send + Sync>,
}

/// What workers and the one who waits for them have in common.
#[derive(Debug, Default)]
pub struct Shared {
    /// How many rows were done.
    pub rows: AtomicU64,
    /// Set when no further work is to be begun.
    pub stop: AtomicBool,
    /// Set while nobody is to begin further work.
    pub hold: AtomicBool,
    /// How much of its time a session works, in percent; the others have the rest of it.
    pub load: Option<u8>,
}

impl Shared {
    /// Rests after work that has taken so long.
    pub fn rest(&self, took: Duration) {
        let until = Instant::now() + rest(self.load, took);
        while !self.stop.load(Ordering::SeqCst) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }
}

/// How long a session rests that may work so much of its time, in percent, and has for so long.
#[must_use]
pub fn rest(load: Option<u8>, took: Duration) -> Duration {
    let Some(load) = load.filter(|load| *load < 100) else { return Duration::ZERO };
    (took * u32::from(100 - load) / u32::from(load.max(1))).min(REST_LONGEST)
}

/// Lets the workers take work from a source until it has none. `look` is called all the while, on
/// this thread; it ends the work by an error. The first error is given back, when all have ended.
pub fn share<T: Send>(
    workers: &mut [Worker],
    shared: &Shared,
    interrupt: &Interrupt,
    next: &(dyn Fn(&mut Client) -> Result<Option<T>> + Sync),
    work: &(dyn Fn(&mut Client, T) -> Result<()> + Sync),
    look: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let fail = |error: Error| {
        shared.stop.store(true, Ordering::SeqCst);
        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    };
    let mut cancels = Vec::new();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for Worker { client, cancel } in workers.iter_mut() {
            cancels.push(&*cancel);
            threads.push(scope.spawn(|| {
                if let Err(error) = until_done(client, shared, next, work) {
                    fail(error);
                }
            }));
        }
        let mut stopped = false;
        while threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::sleep(LOOK_EVERY);
            if stopped {
                continue;
            }
            if let Err(error) = interrupt.check().and_then(|()| look()) {
                stopped = true;
                fail(error);
                for cancel in &cancels {
                    cancel();
                }
            }
        }
    });
    let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok(()), Err)
}

fn until_done<T>(
    client: &mut Client,
    shared: &Shared,
    next: &(dyn Fn(&mut Client) -> Result<Option<T>> + Sync),
    work: &(dyn Fn(&mut Client, T) -> Result<()> + Sync),
) -> Result<()> {
    let mut took = Duration::ZERO;
    loop {
        while shared.hold.load(Ordering::SeqCst) && !shared.stop.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK_EVERY / 2);
        }
        if shared.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        let Some(task) = next(client)? else { return Ok(()) };
        // Only between two: nobody waits where nothing is left to do.
        shared.rest(took);
        if shared.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        let start = Instant::now();
        work(client, task)?;
        took = start.elapsed();
    }
}

/// The same for a list of tasks.
pub fn share_list<T: Send>(
    workers: &mut [Worker],
    shared: &Shared,
    interrupt: &Interrupt,
    tasks: Vec<T>,
    work: &(dyn Fn(&mut Client, T) -> Result<()> + Sync),
    look: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let tasks = Mutex::new(VecDeque::from(tasks));
    let next =
        |_: &mut Client| Ok(tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front());
    share(workers, shared, interrupt, &next, work, look)
}
