//! Writers, readers and a projection run through whole conversions.

use std::time::Duration;

use postgres::{Client, NoTls};
use pupctl::projection::{ProcessorConfig, Runner};

use crate::journal::{self, Journal, assert_whole};
use crate::load::beside;
use crate::support::{TestDatabase, eventually};
use crate::{CONTEXTS, Kind, assert_checked, assert_nothing_left, assert_sound, line, small, to};

/// How long there is between two commands.
pub(crate) fn while_they_work(longer: u32) {
    std::thread::sleep(Duration::from_millis(700) * longer);
}

/// A projection in the background, until this is dropped.
pub(crate) struct Running {
    stop: pupctl::db::Interrupt,
    thread: Option<std::thread::JoinHandle<pupctl::Result<Vec<pupctl::projection::Report>>>>,
}

impl Running {
    pub(crate) fn start(db: &TestDatabase) -> Self {
        let url = db.url().to_owned();
        let connect = move |name: &str| {
            let failed = |error| pupctl::Error::database("connecting", error);
            let mut client = Client::connect(&url, NoTls).map_err(failed)?;
            let set = format!("SET application_name = '{name}'");
            client.batch_execute(&set).map_err(failed)?;
            Ok(client)
        };
        let mut runner = Runner::new(connect);
        let config = ProcessorConfig::default().batch_size(50).slots(2);
        runner.add(Journal::new("all"), config, 2).expect("added");
        let stop = runner.stopper();
        Self { stop, thread: Some(std::thread::spawn(move || runner.run())) }
    }

    /// Stops it when it has handled everything.
    pub(crate) fn finish(mut self, db: &TestDatabase, place: &str) {
        let last: i64 = db.one("SELECT max(global_position) FROM events");
        let sql = "SELECT coalesce(min(last_global_position), -1) FROM projection_checkpoints
            WHERE projection = 'all'";
        let thread = self.thread.take().expect("it runs");
        eventually(&format!("{place}: the projection has reached {last}"), || {
            thread.is_finished() || db.one::<i64>(sql) >= last
        });
        self.stop.raise();
        thread.join().expect("no panic").unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_whole(db, "all");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.raise();
    }
}

/// There, back, there again and to the end.
fn through(layout: &str, longer: u32) {
    let db = small(Kind::Pupctl);
    journal::create(&db);
    let projection = Running::start(&db);
    let budget = |words: &[&str]| {
        let told = db.command(line(words)).args(["--lock-budget", "100s"]).run().success();
        assert!(told.stderr.contains("Done:"), "{told}");
    };
    let load = beside(&db, &CONTEXTS, |_| {
        while_they_work(1);
        budget(&to("start", layout));
        while_they_work(longer);
        budget(&["swap"]);
        while_they_work(longer);
        budget(&["rollback"]);
        while_they_work(longer);
        budget(&to("run", layout));
        while_they_work(longer);
        budget(&["finish"]);
        while_they_work(1);
    });
    load.assert_well(&db, layout);
    assert_sound(&db, layout);
    assert_checked(&db);
    assert_nothing_left(&db, layout);
    projection.finish(&db, layout);
}

#[test]
fn by_context() {
    through("context", 2);
}

#[test]
fn by_hash() {
    through("hash", 1);
}

#[test]
fn by_month() {
    through("month", 1);
}

#[test]
fn by_context_and_hash() {
    through("context,hash", 1);
}

#[test]
fn by_context_and_month() {
    through("context,month", 4);
}

#[test]
fn by_hash_and_month() {
    through("hash,month", 1);
}

#[test]
fn from_tables_of_pupsourcing() {
    let db = small(Kind::Pupsourcing);
    let load = beside(&db, &CONTEXTS, |_| {
        for words in
            [&to("run", "context,month")[..], &["rollback"], &to("run", "hash"), &["finish"]]
        {
            db.command(line(words)).args(["--lock-budget", "100s"]).run().success();
            while_they_work(1);
        }
    });
    load.assert_well(&db, "pupsourcing");
    assert_sound(&db, "pupsourcing");
    assert_nothing_left(&db, "pupsourcing");
}
