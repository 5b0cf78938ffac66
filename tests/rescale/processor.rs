//! The same with the real processor: many writers, whose events commit out of order.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postgres::NoTls;
use pupctl::db::Interrupt;
use pupctl::projection::{
    Event, Fnv1a, HandlerError, Processor, ProcessorConfig, Projection, Runner, ServerHash,
    Transaction,
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

fn connect(db: &TestDatabase) -> impl Fn(&str) -> pupctl::Result<postgres::Client> + use<> {
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
