//! Workers in a process of their own, to be killed and stopped.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use pupctl::projection::{ProcessorConfig, Runner};

use crate::journal::Journal;
use crate::signal;
use crate::support::{TestDatabase, eventually};

/// Tells [`child`] what to do: the numbers of a [`Worker`], after the address.
const VARIABLE: &str = "PUPCTL_TEST_WORKER";

/// What a process runs: the projection `all`, which fills the journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worker {
    /// How many slots the projection has; 0 for what is stored.
    pub(crate) slots: u32,
    /// The slot that it is pinned to.
    pub(crate) key: Option<u32>,
    /// How many workers.
    pub(crate) workers: usize,
    pub(crate) batch_size: usize,
    /// How long a batch takes.
    pub(crate) pause: Duration,
    /// How long the server lets it.
    pub(crate) batch_timeout: Duration,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            slots: 1,
            key: None,
            workers: 1,
            batch_size: 10,
            pause: Duration::ZERO,
            batch_timeout: Duration::from_mins(1),
        }
    }
}

impl Worker {
    pub(crate) fn config(&self) -> ProcessorConfig {
        let config = ProcessorConfig::default()
            .batch_size(self.batch_size)
            .batch_timeout(self.batch_timeout);
        match (self.key, self.slots) {
            (Some(key), total) => config.pinned(key, total),
            (None, 0) => config,
            (None, slots) => config.slots(slots),
        }
    }

    /// The same in this process.
    pub(crate) fn runner(&self, db: &TestDatabase) -> Runner {
        let mut runner = Runner::new(crate::connect(db));
        let journal = Journal { pause: self.pause, ..Journal::new("all") };
        runner.add(journal, self.config(), self.workers).expect("added");
        runner
    }

    pub(crate) fn spawn(self, db: &TestDatabase) -> Process {
        self.spawn_with(db, "")
    }

    /// The same, to be killed at fail points.
    pub(crate) fn spawn_with(self, db: &TestDatabase, points: &str) -> Process {
        let key = self.key.map_or(-1, i64::from);
        let text = format!(
            "{}\n{} {key} {} {} {} {}",
            db.url(),
            self.slots,
            self.workers,
            self.batch_size,
            self.pause.as_millis(),
            self.batch_timeout.as_millis()
        );
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "worker::child", "--ignored", "--nocapture"]);
        command.env(VARIABLE, text).env("FAILPOINTS", points);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Process(command.spawn().expect("a process"))
    }

    fn parse(text: &str) -> (&str, Self) {
        let (url, numbers) = text.split_once('\n').expect("two lines");
        let numbers: Vec<i64> =
            numbers.split(' ').map(|number| number.parse().expect("a number")).collect();
        let [slots, key, workers, batch_size, pause, timeout] = numbers[..] else {
            panic!("{text}")
        };
        let worker = Self {
            slots: u32::try_from(slots).expect("a number of slots"),
            key: u32::try_from(key).ok(),
            workers: usize::try_from(workers).expect("a number of workers"),
            batch_size: usize::try_from(batch_size).expect("a size"),
            pause: Duration::from_millis(pause.unsigned_abs()),
            batch_timeout: Duration::from_millis(timeout.unsigned_abs()),
        };
        (url, worker)
    }
}

/// Not a test of its own: what other processes run.
#[test]
#[ignore = "run by other tests in a process of its own"]
fn child() {
    let Ok(text) = std::env::var(VARIABLE) else { return };
    #[cfg(feature = "failpoints")]
    pupctl::failpoint::setup();
    let (url, worker) = Worker::parse(&text);
    let mut runner = Runner::new(crate::connect_to(url));
    let journal = Journal { pause: worker.pause, ..Journal::new("all") };
    runner.add(journal, worker.config(), worker.workers).expect("added");
    runner.stop_on_signals().expect("signals");
    let reports = runner.run().expect("stopped");
    assert!(reports.iter().all(|report| report.stopped.is_none()), "{reports:?}");
}

/// A process with workers, killed when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn id(&self) -> i64 {
        i64::from(self.0.id())
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.id());
    }

    pub(crate) fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process ends", || {
            status = self.0.try_wait().expect("a state");
            status.is_some()
        });
        status.expect("it ended")
    }

    /// Asks it to stop. It has to end well.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The sessions of workers of `all` in this state, as `idle in transaction`.
pub(crate) fn sessions(db: &TestDatabase, state: &str) -> i64 {
    db.one(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND application_name = 'pupctl/projection all' AND state = '{state}'"
    ))
}
