//! The processor of projections: every committed event is handled once and in order, whoever
//! commits late, fails, is killed, or works beside it.

#[path = "../support/mod.rs"]
mod support;

mod basics;
mod changes;
mod errors;
mod journal;
mod poison;
mod proxy;
mod refusals;
mod rescue;
mod rivals;
mod runner;
mod slots;
mod torture;
mod worker;
mod writers;

use postgres::{Client, NoTls};
use pupctl::db::Interrupt;
use pupctl::projection::{Connect, Processor, ProcessorConfig, Projection, Report, Runner};

use support::{TestDatabase, TestServer};

/// Connects as a program with a way of its own does.
pub(crate) fn connect(db: &TestDatabase) -> impl Connect + 'static {
    connect_to(db.url())
}

/// The same by an address.
pub(crate) fn connect_to(url: &str) -> impl Connect + 'static {
    let url = url.to_owned();
    move |application_name: &str| {
        let failed = |error| pupctl::Error::database("connecting", error);
        let mut client = Client::connect(&url, NoTls).map_err(failed)?;
        let name = application_name.replace('\'', "''");
        client.batch_execute(&format!("SET application_name = '{name}'")).map_err(failed)?;
        Ok(client)
    }
}

/// A store of this layout with the contexts `Sales` and `Billing`.
pub(crate) fn store(layout: &str) -> TestDatabase {
    store_on(TestServer::shared(), layout)
}

/// The same on a server of its own.
pub(crate) fn store_on(server: &TestServer, layout: &str) -> TestDatabase {
    let db = TestDatabase::on(server);
    let mut arguments = vec!["schema", "init", "--partition-by", layout, "--months", "1"];
    arguments.extend(["--contexts", "Sales,Billing"]);
    if layout.contains("hash") {
        arguments.extend(["--hash-partitions", "2"]);
    }
    db.pupctl(&arguments).success();
    journal::create(&db);
    db
}

/// Adds an event of an aggregate, and commits it. Its position.
pub(crate) fn append(client: &mut Client, context: &str, id: &str) -> i64 {
    append_as(client, context, id, "OrderPlaced")
}

/// The same with a type of the event.
pub(crate) fn append_as(client: &mut Client, context: &str, id: &str, event_type: &str) -> i64 {
    let mut transaction = client.transaction().expect("a transaction");
    let insert = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
        SELECT $1, 'Order', $2, coalesce(max(aggregate_version), 0) + 1, gen_random_uuid(), $3, ''
        FROM aggregate_heads
        WHERE bounded_context = $1 AND aggregate_type = 'Order' AND aggregate_id = $2
        RETURNING global_position, aggregate_version";
    let row = transaction.query_one(insert, &[&context, &id, &event_type]).expect("an event");
    let head = "INSERT INTO aggregate_heads (bounded_context, aggregate_type, aggregate_id,
            aggregate_version)
        VALUES ($1, 'Order', $2, $3)
        ON CONFLICT (bounded_context, aggregate_type, aggregate_id)
        DO UPDATE SET aggregate_version = excluded.aggregate_version";
    transaction.execute(head, &[&context, &id, &row.get::<_, i64>(1)]).expect("a head");
    transaction.commit().expect("committed");
    row.get(0)
}

/// Runs a projection until it has caught up.
pub(crate) fn catch_up(
    db: &TestDatabase,
    projection: impl Projection + 'static,
    config: ProcessorConfig,
) -> pupctl::Result<Report> {
    Processor::new(connect(db), projection, config)?.run_until_caught_up(&Interrupt::default())
}

/// Where the slots of a projection stand, in order.
pub(crate) fn positions(db: &TestDatabase, projection: &str) -> Vec<i64> {
    let sql = "SELECT last_global_position FROM projection_checkpoints WHERE projection = $1
        ORDER BY slot";
    let rows = db.client().query(sql, &[&projection]).expect("checkpoints");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Raises a flag when it is dropped, so that threads which wait for it end with a test that fails.
pub(crate) struct Raise<F: Fn()>(pub(crate) F);

impl<F: Fn()> Drop for Raise<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Runs a runner in a thread of its own until this is dropped or stopped.
pub(crate) struct Running {
    stop: Interrupt,
    thread: Option<std::thread::JoinHandle<pupctl::Result<Vec<Report>>>>,
}

impl Running {
    pub(crate) fn start(runner: Runner) -> Self {
        let stop = runner.stopper();
        Self { stop, thread: Some(std::thread::spawn(move || runner.run())) }
    }

    /// Whether it ended by itself.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(std::thread::JoinHandle::is_finished)
    }

    /// Stops it. What it did.
    pub(crate) fn stop(self) -> Vec<Report> {
        self.stop.raise();
        self.outcome().expect("stopped")
    }

    /// Waits for its end, which is near.
    pub(crate) fn outcome(mut self) -> pupctl::Result<Vec<Report>> {
        support::eventually("the runner ends", || self.is_over());
        self.thread.take().expect("it was not awaited").join().expect("no panic")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.raise();
    }
}

/// Adds many events at once, in one transaction: so many, of so many aggregates.
pub(crate) fn fill(db: &TestDatabase, context: &str, events: i64, aggregates: i64) {
    let sql = format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT '{context}', 'Order', 'f-' || number % {aggregates}, number / {aggregates} + 1,
            gen_random_uuid(), 'OrderPlaced', ''
         FROM generate_series(0, {events} - 1) AS number"
    );
    db.execute(&sql);
}

/// The last position of the store.
pub(crate) fn last(db: &TestDatabase) -> i64 {
    db.one("SELECT coalesce(max(global_position), 0) FROM events")
}

/// Waits until a projection has handled everything that is there by now.
#[track_caller]
pub(crate) fn await_caught_up(db: &TestDatabase, projection: &str) {
    let last = last(db);
    let mut client = db.client();
    let sql = "SELECT coalesce(min(last_global_position), -1) FROM projection_checkpoints
        WHERE projection = $1";
    support::eventually(&format!("{projection} has reached {last}"), || {
        let row = client.query_one(sql, &[&projection]).expect("the checkpoints");
        row.get::<_, i64>(0) >= last
    });
}

/// Sends a signal to a process, as `KILL`.
pub(crate) fn signal(name: &str, pid: i64) {
    let sent = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(sent.expect("the program kill").success(), "cannot send {name} to {pid}");
}
