//! The commands beside workers of the library, which know nothing of them.

use std::time::Duration;

use postgres::NoTls;
use pupctl::projection::{Event, HandlerError, ProcessorConfig, Projection, Runner, Transaction};

use crate::support::{TestDatabase, eventually};
use crate::{append, store};

const EVENTS: u32 = 200;

/// Writes down what it handles.
struct Seen;

impl Projection for Seen {
    fn name(&self) -> &'static str {
        "seen"
    }

    fn read_model(&self) -> Vec<&str> {
        vec!["\"Seen\""]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        tx.execute("INSERT INTO \"Seen\" VALUES ($1)", &[&event.global_position])?;
        Ok(())
    }
}

fn runner(db: &TestDatabase) -> Runner {
    let url = db.url().to_owned();
    let mut runner = Runner::new(move |name: &str| {
        let failed = |error| pupctl::Error::database("connecting", error);
        let mut client = postgres::Client::connect(&url, NoTls).map_err(failed)?;
        client.batch_execute(&format!("SET application_name = '{name}'")).map_err(failed)?;
        Ok(client)
    });
    let config = ProcessorConfig::default().slots(4).batch_size(3);
    runner.add(Seen, config, 2).expect("a projection");
    runner
}

#[test]
fn workers_pause_go_on_and_begin_again() {
    let db = store();
    db.execute("CREATE TABLE \"Seen\" (position bigint)");
    append(&db, "Sales", 0..EVENTS);
    let seen = || db.one::<i64>("SELECT count(*) FROM \"Seen\"");
    let runner = runner(&db);
    let stop = runner.stopper();
    let thread = std::thread::spawn(move || runner.run());
    eventually("they work", || seen() > 0);

    db.pupctl(["projections", "pause", "seen"]).success();
    let at_pause = seen();
    append(&db, "Sales", 0..10);
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(seen(), at_pause, "nobody works on it");
    let json = db.pupctl(["projections", "status", "seen", "-o", "json"]).success().json();
    let status = &json["projections"][0];
    assert_eq!(status["state"], "paused");
    assert_eq!(status["sessions"].as_array().map(Vec::len), Some(2), "{status}");
    assert_eq!(status["lag"]["events"], i64::from(EVENTS) + 10 - at_pause);

    db.pupctl(["projections", "resume", "seen"]).success();
    let gate = ["projections", "status", "seen", "--wait", "--position", "head"];
    db.pupctl(gate).success();
    assert_eq!(seen(), i64::from(EVENTS) + 10);
    // In the middle of new events: those are handled once, the others once more.
    for _ in 0..3 {
        append(&db, "Sales", 0..20);
        db.pupctl(["projections", "reset", "seen", "--truncate", "--yes"]).success();
    }
    db.pupctl(gate).success();
    assert_eq!(seen(), i64::from(EVENTS) + 70);
    let distinct = "SELECT count(DISTINCT position) FROM \"Seen\"";
    assert_eq!(db.one::<i64>(distinct), i64::from(EVENTS) + 70);
    let running = db.pupctl(["projections", "list"]).success();
    assert!(running.stdout.contains("| running |"), "{running}");
    // What a worker made is what init would have made.
    let same = ["projections", "init", "seen", "--slots", "4", "--tables", "\"Seen\""];
    let same = db.pupctl(same).success();
    assert!(same.stderr.contains("Nothing to do"), "{same}");

    stop.raise();
    thread.join().expect("no panic").expect("the workers end");
}
