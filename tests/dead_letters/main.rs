//! Events that could not be handled: they are listed, handled once more by workers in their order,
//! or forgotten; and nothing else happens to them, whoever does what at the same time.

#[path = "../support/mod.rs"]
mod support;

mod discard;
mod list;
mod names;
mod replay;
mod together;

use std::sync::Arc;
use std::thread::JoinHandle;

use postgres::{Client, NoTls};
use pupctl::db::Interrupt;
use pupctl::projection::{
    Connect, ErrorPolicy, Event, HandlerError, Processor, ProcessorConfig, Projection, Runner,
    Transaction,
};
use support::{Append, Output, TestDatabase};

/// A projection that writes down what it handles, and fails at the positions in a table.
pub(crate) struct Fragile(pub(crate) &'static str);

impl Projection for Fragile {
    fn name(&self) -> &str {
        self.0
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        let position = event.global_position;
        if tx.query_opt("SELECT FROM poison WHERE position = $1", &[&position])?.is_some() {
            return Err(format!("position {position} is poison\nand more of it").into());
        }
        tx.execute(
            "INSERT INTO handled (projection, position, aggregate) VALUES ($1, $2, $3)",
            &[&self.0, &position, &event.aggregate_id],
        )?;
        Ok(())
    }
}

/// A store with the events 1 to 12 of the aggregates `0`, `1` and `2` in turn.
pub(crate) fn store() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "-q", "--partition-by", "none"]).success();
    prepare(&db);
    for number in 0..12 {
        append(&db, &(number % 3).to_string());
    }
    db
}

pub(crate) fn prepare(db: &TestDatabase) {
    db.execute(
        "CREATE TABLE poison (position bigint PRIMARY KEY);
         CREATE TABLE handled (number bigint GENERATED ALWAYS AS IDENTITY, projection text,
            position bigint, aggregate text, PRIMARY KEY (projection, position))",
    );
}

pub(crate) fn append(db: &TestDatabase, id: &str) {
    let created_at = "2026-01-01T00:00:00Z";
    let append = Append { context: "Sales", id, head: None, events: 1, created_at };
    append.run(&mut db.client()).expect("an event");
}

/// The same store, where the projection has put aside what it could not handle of aggregate `0`
/// (1, 4, 7, 10) from position 4 on, and of aggregate `1` (2, 5, 8, 11) from position 8 on.
pub(crate) fn parked(slots: u32) -> TestDatabase {
    let db = store();
    db.execute("INSERT INTO poison VALUES (4), (8)");
    work(&db, "orders", slots);
    assert_eq!(states(&db), ["4 failed", "7 waiting", "8 failed", "10 waiting", "11 waiting"]);
    db
}

fn config(slots: u32) -> ProcessorConfig {
    ProcessorConfig::default().on_error(ErrorPolicy::Park).slots(slots)
}

fn connect(db: &TestDatabase) -> impl Connect + 'static {
    let url = db.url().to_owned();
    move |application_name: &str| {
        let failed = |error| pupctl::Error::database("connecting", error);
        let mut client = Client::connect(&url, NoTls).map_err(failed)?;
        let name = application_name.replace('\'', "''");
        client.batch_execute(&format!("SET application_name = '{name}'")).map_err(failed)?;
        Ok(client)
    }
}

/// Lets a worker do all that there is to do.
pub(crate) fn work(db: &TestDatabase, name: &'static str, slots: u32) {
    let processor = Processor::new(connect(db), Fragile(name), config(slots)).expect("a worker");
    processor.run_until_caught_up(&Interrupt::default()).expect("caught up");
}

/// Workers that go on until they are dropped.
pub(crate) struct Workers {
    stop: Interrupt,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    pub(crate) fn begin(db: &TestDatabase, name: &'static str, slots: u32, number: usize) -> Self {
        let mut runner = Runner::new(connect(db));
        runner.add_shared(Arc::new(Fragile(name)), config(slots), number).expect("a projection");
        let stop = runner.stopper();
        let thread = std::thread::spawn(move || {
            runner.run().expect("they worked");
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.raise();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking());
    }
}

/// Runs `pupctl projections dead-letters`.
pub(crate) fn letters(db: &TestDatabase, arguments: &[&str]) -> Output {
    db.pupctl(["projections", "dead-letters"].iter().chain(arguments))
}

/// The letters in order, as `4 failed`.
pub(crate) fn states(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT global_position || ' ' || state FROM public.projection_dead_letters
         ORDER BY projection, global_position",
    )
}

/// The letters that are asked for, in order.
pub(crate) fn asked(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT global_position::text FROM public.projection_dead_letters AS letter
         WHERE replay_at IS NOT NULL ORDER BY letter.global_position",
    )
}

/// The positions that were handled of an aggregate, in the order in which they were.
pub(crate) fn handled(db: &TestDatabase, aggregate: &str) -> Vec<String> {
    db.texts(&format!(
        "SELECT position::text FROM public.handled WHERE aggregate = '{aggregate}' ORDER BY number"
    ))
}

/// All that these commands may change.
pub(crate) fn state(db: &TestDatabase) -> Vec<String> {
    let mut state = db.texts(
        "SELECT (to_jsonb(letter) - 'replay_at'
            || jsonb_build_object('asked', replay_at IS NOT NULL))::text
         FROM public.projection_dead_letters AS letter ORDER BY id",
    );
    state.extend(db.texts(
        "SELECT (to_jsonb(point) - 'replay_at'
            || jsonb_build_object('asked', replay_at IS NOT NULL))::text
         FROM public.projection_checkpoints AS point ORDER BY projection_name",
    ));
    state
}
