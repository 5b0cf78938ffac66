//! What one worker does.

use pupctl::projection::ProcessorConfig;

use crate::journal::{self, Journal, assert_whole};
use crate::{append, catch_up, positions, store};

#[test]
fn every_event_is_handled_once_on_every_layout() {
    for layout in ["none", "context", "hash", "month", "context,month"] {
        let db = store(layout);
        let mut client = db.client();
        for number in 0..25 {
            append(&mut client, if number % 2 == 0 { "Sales" } else { "Billing" }, "o-1");
        }
        let config = ProcessorConfig::default().batch_size(7);
        let report = catch_up(&db, Journal::new("all"), config.clone()).expect("caught up");
        assert_eq!((report.events, report.position), (25, 25), "{layout}");
        assert_whole(&db, "all");
        // Again: there is nothing to do.
        let report = catch_up(&db, Journal::new("all"), config.clone()).expect("caught up");
        assert_eq!(report.events, 0, "{layout}");
        append(&mut client, "Sales", "o-2");
        assert_eq!(catch_up(&db, Journal::new("all"), config).expect("caught up").events, 1);
        assert_eq!(positions(&db, "all"), [26], "{layout}");
    }
}

#[test]
fn a_scoped_projection_gets_its_events_and_its_checkpoint_moves_with_all() {
    let db = store("context,month");
    let mut client = db.client();
    for context in ["Sales", "Billing", "Sales", "Billing", "Billing"] {
        append(&mut client, context, "o-1");
    }
    let sales = || Journal::of("sales", &["Sales"]);
    let report = catch_up(&db, sales(), ProcessorConfig::default()).expect("caught up");
    assert_eq!(report.events, 2);
    assert_eq!(journal::positions(&db, "sales"), [1, 3]);
    assert_eq!(positions(&db, "sales"), [5], "what is not in scope is passed too");
}

#[test]
fn an_event_that_is_committed_late_is_not_passed_over() {
    let db = store("none");
    let (mut late, mut client) = (db.client(), db.client());
    append(&mut client, "Sales", "o-1");
    let mut open = late.transaction().expect("a transaction");
    let insert = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
         VALUES ('Sales', 'Order', 'late', 1, gen_random_uuid(), 'OrderPlaced', '')";
    open.batch_execute(insert).expect("an event");
    append(&mut client, "Sales", "o-1");

    let url = db.url().to_owned();
    let worker = std::thread::spawn({
        let processor = pupctl::projection::Processor::new(
            crate::connect(&db),
            Journal::new("all"),
            ProcessorConfig::default(),
        )
        .expect("a processor");
        move || processor.run_until_caught_up(&pupctl::db::Interrupt::default())
    });
    // It is given what lies before the open transaction at most.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!worker.is_finished(), "{url}");
    assert!(journal::positions(&db, "all").iter().all(|&position| position < 2));
    open.commit().expect("committed");
    worker.join().expect("no panic").expect("caught up");
    assert_eq!(journal::positions(&db, "all"), [1, 2, 3]);
}

#[test]
fn what_was_rolled_back_holds_nothing_up() {
    let db = store("none");
    let mut client = db.client();
    append(&mut client, "Sales", "o-1");
    db.execute("SELECT nextval('events_global_position_seq') FROM generate_series(1, 20)");
    append(&mut client, "Sales", "o-1");
    let report = catch_up(&db, Journal::new("all"), ProcessorConfig::default()).expect("caught up");
    assert_eq!((report.events, report.position), (2, 22));
}

#[test]
fn the_checkpoint_is_one_that_pupsourcings_monitoring_reads() {
    let db = store("none");
    append(&mut db.client(), "Sales", "o-1");
    catch_up(&db, Journal::new("all"), ProcessorConfig::default()).expect("caught up");
    let lag: i64 = db.one(
        "SELECT (SELECT max(global_position) FROM events) - last_global_position
         FROM projection_checkpoints WHERE projection_name = 'all'",
    );
    assert_eq!(lag, 0);
}
