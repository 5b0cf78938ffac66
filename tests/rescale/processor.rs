//! The same with the real processor: many writers, whose events commit out of order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postgres::NoTls;
use pupctl::db::Interrupt;
use pupctl::projection::{
    ErrorPolicy, Event, Fnv1a, HandlerError, Processor, ProcessorConfig, Projection, Runner,
    ServerHash, Transaction,
};

use crate::support::{TestDatabase, event_id};
use crate::{events, exactly_once, projections, rows, store};

/// Writes down what it gets.
struct Orders;

impl Projection for Orders {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        let sql = "INSERT INTO handled (projection, position, aggregate_id)
            VALUES ('orders', $1, $2)";
        tx.execute(sql, &[&event.global_position, &event.aggregate_id])?;
        Ok(())
    }
}

/// The same by another name, slowly; and it fails at the positions in the table `poison`.
pub(crate) struct Fragile(pub(crate) &'static str);

impl Projection for Fragile {
    fn name(&self) -> &str {
        self.0
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        std::thread::sleep(Duration::from_millis(2));
        let position = event.global_position;
        if tx.query_opt("SELECT FROM poison WHERE position = $1", &[&position])?.is_some() {
            return Err(format!("position {position} is poison").into());
        }
        let sql = "INSERT INTO handled (projection, position, aggregate_id) VALUES ($1, $2, $3)";
        tx.execute(sql, &[&self.0, &position, &event.aggregate_id])?;
        Ok(())
    }
}

pub(crate) fn connect(
    db: &TestDatabase,
) -> impl Fn(&str) -> pupctl::Result<postgres::Client> + use<> {
    let url = db.url().to_owned();
    move |name: &str| {
        let failed = |error| pupctl::Error::database("connecting", error);
        let mut client = postgres::Client::connect(&url, NoTls).map_err(failed)?;
        client.batch_execute(&format!("SET application_name = '{name}'")).map_err(failed)?;
        Ok(client)
    }
}

/// Appends an event of one of a writer's aggregates at a time, and holds some transactions open.
fn write(db: &TestDatabase, done: &AtomicBool) {
    let (mut client, writer) = (db.client(), event_id());
    let mut number = 0;
    while !done.load(Ordering::SeqCst) {
        number += 1;
        let mut transaction = client.transaction().expect("a transaction");
        let insert = format!(
            "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, payload)
             VALUES ('Sales', 'Order', '{writer}-{}', {number}, gen_random_uuid(), 'X', '')",
            number % 9
        );
        transaction.batch_execute(&insert).expect("an event");
        std::thread::sleep(Duration::from_millis(number % 7));
        if number % 10 == 0 {
            transaction.rollback().expect("rolled back");
        } else {
            transaction.commit().expect("committed");
        }
    }
}

#[test]
fn changes_under_load_handle_every_event_once() {
    let db = store();
    events(&db, 500, 20);
    let done = AtomicBool::new(false);
    let mut runner = Runner::new(connect(&db));
    runner.add(Orders, ProcessorConfig::default().batch_size(20), 3).expect("a projection");
    let stop = runner.stopper();
    std::thread::scope(|scope| {
        let run = scope.spawn(move || runner.run());
        let writers: Vec<_> = (0..4).map(|_| scope.spawn(|| write(&db, &done))).collect();
        crate::support::eventually("it begins", || rows(&db).len() == 1);
        for (slots, hash) in [
            ("4", ServerHash::NAME),
            ("8", ServerHash::NAME),
            ("3", Fnv1a::NAME),
            ("16", Fnv1a::NAME),
            ("2", ServerHash::NAME),
        ] {
            std::thread::sleep(Duration::from_millis(150));
            projections(&db, &["rescale", "orders", "--slots", slots, "--hash", hash]).success();
        }
        done.store(true, Ordering::SeqCst);
        for writer in writers {
            writer.join().expect("a writer");
        }
        stop.raise();
        run.join().expect("a runner").expect("a clean end");
    });
    let processor = Processor::new(connect(&db), Orders, ProcessorConfig::default());
    processor.expect("a processor").run_until_caught_up(&Interrupt::default()).expect("a run");
    assert_eq!(rows(&db).len(), 2);
    exactly_once(&db, "orders");
}

#[test]
fn a_projection_that_was_taken_over_goes_on() {
    let db = store();
    events(&db, 200, 20);
    let positions = [50, 120, 90];
    crate::adopt::foreign(&db, &[("orders_p0", 50), ("orders_p1", 120), ("orders_p2", 90)]);
    crate::adopt::foreign(&db, &[("orders", 10)]);
    crate::handle_before(&db, "orders", Fnv1a::NAME, &positions);
    let processor = || Processor::new(connect(&db), Orders, ProcessorConfig::default());
    let run = || processor().expect("a processor").run_until_caught_up(&Interrupt::default());
    let refused = run().expect_err("rows of another");
    assert!(refused.hint_text().is_some_and(|hint| hint.contains("adopt orders")), "{refused}");
    let adopt = ["adopt", "orders", "--total", "3", "--ignore-rows", "orders", "--yes"];
    projections(&db, &adopt).success();
    run().expect("a run");
    exactly_once(&db, "orders");
}

/// Later events of the aggregates that there are.
const MORE: &str = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
        aggregate_version, event_id, event_type, payload)
    SELECT bounded_context, aggregate_type, aggregate_id, max(aggregate_version) + number,
        gen_random_uuid(), 'OrderShipped', ''
    FROM events, generate_series(1, 20) AS number GROUP BY 1, 2, 3, number ORDER BY number";

#[test]
fn what_waits_behind_a_failure_goes_along() {
    let db = store();
    db.execute("CREATE TABLE poison (position bigint); INSERT INTO poison VALUES (4), (31)");
    events(&db, 100, 10);
    let config = || ProcessorConfig::default().on_error(ErrorPolicy::Park).batch_size(10);
    let work = || {
        let processor = Processor::new(connect(&db), Fragile("orders"), config());
        let processor = processor.expect("a processor");
        processor.run_until_caught_up(&Interrupt::default()).expect("a run");
    };
    projections(&db, &["init", "orders", "--slots", "2"]).success();
    work();
    let count = |state: &str| {
        let sql = "SELECT count(*) FROM projection_dead_letters WHERE state = ";
        db.one::<i64>(&format!("{sql}'{state}'"))
    };
    assert_eq!(count("failed"), 2);
    let waiting = count("waiting");
    assert!(waiting > 0);

    projections(&db, &["rescale", "orders", "--slots", "4"]).success();
    db.execute(MORE);
    work();
    // What comes of these aggregates waits too, in whichever slot they are now.
    let later = count("waiting");
    assert!(later > waiting, "{later}");
    db.execute(MORE);
    let mut runner = Runner::new(connect(&db));
    runner.add(Fragile("orders"), config(), 2).expect("a projection");
    let stop = runner.stopper();
    std::thread::scope(|scope| {
        let run = scope.spawn(move || runner.run());
        let moved = "SELECT count(DISTINCT last_global_position) > 1 FROM projection_checkpoints";
        crate::support::eventually("slots are apart", || db.one::<bool>(moved));
        projections(&db, &["rescale", "orders", "--slots", "3"]).success();
        stop.raise();
        run.join().expect("a runner").expect("a clean end");
    });
    work();
    assert_eq!(count("failed"), 2);
    assert!(count("waiting") > later);
    db.execute("DELETE FROM poison");
    projections(&db, &["dead-letters", "replay", "orders", "--all"]).success();
    work();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_dead_letters"), 0);
    exactly_once(&db, "orders");
}
