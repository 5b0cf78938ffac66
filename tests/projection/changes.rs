//! What is changed while workers run, and roles and settings that stand in the way.

use std::time::Duration;

use pupctl::projection::{Fnv1a, ProcessorConfig, Runner};

use crate::journal::{self, Journal, assert_whole};
use crate::support::eventually;
use crate::{append, catch_up, connect, positions, store};

/// Runs a projection in the background, until it is told to stop or fails.
fn run(
    db: &crate::support::TestDatabase,
    projection: Journal,
    config: ProcessorConfig,
) -> (pupctl::projection::Interrupt, std::thread::JoinHandle<pupctl::Result<()>>) {
    let mut runner = Runner::new(connect(db));
    runner.add(projection, config, 1).expect("added");
    let stop = runner.stopper();
    (stop, std::thread::spawn(move || runner.run().map(drop)))
}

#[test]
fn a_worker_of_an_earlier_version_stops_when_another_one_reads_more() {
    let db = store("none");
    append(&mut db.client(), "Sales", "o-1");
    let config = ProcessorConfig::default;
    let (_stop, earlier) = run(&db, Journal::of("all", &["Sales"]), config());
    eventually("the first event", || journal::positions(&db, "all") == [1]);
    // Another version registers, which reads Billing too, and is gone again.
    let both = || Journal::of("all", &["Sales", "Billing"]);
    catch_up(&db, both(), config()).expect("caught up");
    append(&mut db.client(), "Billing", "b-1");
    append(&mut db.client(), "Sales", "o-1");
    let error = earlier.join().expect("no panic").expect_err("it stops");
    assert!(error.message().contains("reads other contexts"), "{error}");
    catch_up(&db, both(), config()).expect("caught up");
    assert_eq!(journal::positions(&db, "all"), [1, 2, 3]);
}

#[test]
fn what_was_read_ahead_is_not_used_for_another_hash() {
    let db = store("none");
    let mut client = db.client();
    for number in 0..20 {
        append(&mut client, "Sales", &format!("o-{number}"));
    }
    let config = || ProcessorConfig::default().initial_slots(2);
    let by_fnv = config().strategy(Fnv1a);
    catch_up(&db, Journal::new("all"), by_fnv).expect("caught up");
    let (stop, worker) = run(&db, Journal::new("all"), config());
    append(&mut client, "Sales", "o-0");
    eventually("the worker works", || positions(&db, "all") == [21, 21]);
    // Made anew, with the same epoch and another hash.
    db.pupctl(["projections", "delete", "all", "--yes"]).success();
    let anew = ["projections", "init", "all", "--slots", "2", "--from", "end"];
    db.pupctl(anew).success();
    for number in 0..40 {
        append(&mut client, "Sales", &format!("n-{number}"));
    }
    eventually("it goes on", || positions(&db, "all") == [61, 61]);
    assert_whole(&db, "all");
    stop.raise();
    worker.join().expect("no panic").expect("stopped");
}

#[test]
fn a_checkpoint_that_somebody_moved_too_far_harms_no_other_projection() {
    let db = store("none");
    let (mut late, mut client) = (db.client(), db.client());
    append(&mut client, "Sales", "o-1");
    catch_up(&db, Journal::new("moved"), ProcessorConfig::default()).expect("caught up");
    let mut open = late.transaction().expect("a transaction");
    let insert = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
         VALUES ('Sales', 'Order', 'late', 1, gen_random_uuid(), 'OrderPlaced', '')";
    open.batch_execute(insert).expect("an event");
    append(&mut client, "Sales", "o-1");
    db.execute("UPDATE projection_checkpoints SET last_global_position = 3");
    let (stop, worker) = run(&db, Journal::new("all"), ProcessorConfig::default());
    eventually("the first event", || journal::positions(&db, "all") == [1]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(journal::positions(&db, "all"), [1], "the second one is not there yet");
    open.commit().expect("committed");
    eventually("all of them", || journal::positions(&db, "all") == [1, 2, 3]);
    stop.raise();
    worker.join().expect("no panic").expect("stopped");
}

#[test]
fn a_projection_that_begins_anew_has_no_old_dead_letters() {
    let db = store("none");
    let mut client = db.client();
    for _ in 0..3 {
        append(&mut client, "Sales", "o-1");
    }
    db.execute(
        "INSERT INTO projection_dead_letters (projection, global_position, bounded_context,
            aggregate_type, aggregate_id, aggregate_version, event_id, event_type, state)
         SELECT 'all', global_position, bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, 'failed' FROM events",
    );
    catch_up(&db, Journal::new("all"), ProcessorConfig::default()).expect("caught up");
    assert_whole(&db, "all");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_dead_letters"), 0);
}

#[test]
fn slots_may_be_changed_under_a_worker_that_loses_its_connection_later() {
    let db = store("none");
    append(&mut db.client(), "Sales", "o-1");
    let config = ProcessorConfig::default().slots(4);
    let (stop, worker) = run(&db, Journal::new("all"), config.clone());
    eventually("it works", || positions(&db, "all") == [1; 4]);
    db.pupctl(["projections", "rescale", "all", "--slots", "8"]).success();
    db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'pupctl/projection%'",
    );
    append(&mut db.client(), "Sales", "o-1");
    eventually("it goes on", || positions(&db, "all") == [2; 8]);
    stop.raise();
    worker.join().expect("no panic").expect("stopped");
    // Started anew, it insists; with initial slots it does not.
    catch_up(&db, Journal::new("all"), config).expect_err("other slots");
    let initial = ProcessorConfig::default().initial_slots(4);
    catch_up(&db, Journal::new("all"), initial).expect("caught up");
    assert_whole(&db, "all");
}

#[test]
fn a_run_to_the_end_tells_what_never_comes_to_it() {
    let db = store("none");
    append(&mut db.client(), "Sales", "o-1");
    let run = || catch_up(&db, Journal::new("all"), ProcessorConfig::default());
    run().expect("caught up");
    append(&mut db.client(), "Sales", "o-1");
    db.pupctl(["projections", "pause", "all"]).success();
    let paused = run().expect_err("paused");
    assert_eq!(paused.message(), "the projection all is paused");
    assert_eq!(paused.hint_text(), Some("let it go on: pupctl projections resume all"));
    db.pupctl(["projections", "resume", "all"]).success();
    db.execute("UPDATE projection_checkpoints SET drain_to = last_global_position");
    let barred = run().expect_err("a barrier");
    assert_eq!(barred.message(), "the slots of the projection all stand at a barrier");
    db.pupctl(["projections", "rescale", "all", "--abort"]).success();
    run().expect("caught up");
    assert_whole(&db, "all");
}

#[test]
fn a_failing_event_is_that_of_one_slot_and_each_slot_counts_its_own() {
    let db = store("none");
    let mut client = db.client();
    for number in 0..40 {
        append(&mut client, "Sales", &format!("o-{}", number % 9));
    }
    let config = || ProcessorConfig::default().slots(4);
    catch_up(&db, Journal::failing_at("all", &[31]), config()).expect_err("it stops");
    let failing: i64 = db.one(
        "SELECT count(*) FROM projection_checkpoints, events
         WHERE global_position = 31 AND last_error IS NOT NULL AND failed_position = 31
            AND slot = (hashtextextended(aggregate_id, 0) & 9223372036854775807) % 4",
    );
    let all: i64 = db.one("SELECT count(last_error) FROM projection_checkpoints");
    assert_eq!((failing, all), (1, 1));
    catch_up(&db, Journal::new("all"), config()).expect("caught up");
    let wrong: i64 = db.one(
        "SELECT count(*) FROM projection_checkpoints WHERE coalesce(events_handled, 0) <> (
            SELECT count(*) FROM events
            WHERE slot = (hashtextextended(aggregate_id, 0) & 9223372036854775807) % 4)",
    );
    assert_eq!(wrong, 0);
}

#[test]
fn settings_of_the_role_do_not_stop_a_worker() {
    let db = store("none");
    append(&mut db.client(), "Sales", "o-1");
    let name = db.name();
    db.execute(&format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = on;
         ALTER DATABASE {name} SET default_transaction_isolation = 'serializable';
         ALTER DATABASE {name} SET statement_timeout = '400ms'"
    ));
    let (stop, worker) = run(&db, Journal::new("all"), ProcessorConfig::default());
    eventually("the first event", || journal::positions(&db, "all") == [1]);
    // Somebody has the table for longer than the timeout.
    let mut other = db.client();
    other.batch_execute("SET default_transaction_read_only = off").expect("set");
    let mut lock = other.transaction().expect("a transaction");
    lock.batch_execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").expect("locked");
    std::thread::sleep(Duration::from_secs(1));
    lock.commit().expect("committed");
    append(&mut other, "Sales", "o-1");
    eventually("both events", || journal::positions(&db, "all") == [1, 2]);
    stop.raise();
    worker.join().expect("no panic").expect("stopped");
}

#[test]
fn a_table_whose_rows_are_hidden_from_the_role_is_refused() {
    let db = store("none");
    append(&mut db.client(), "Sales", "o-1");
    db.execute("ALTER TABLE events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY");
    let role = format!("plain_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
    ));
    let url = db.url().to_owned();
    let set = format!("SET ROLE {role}");
    let connect = move |_: &str| {
        let failed = |error| pupctl::Error::database("connecting", error);
        let mut client = postgres::Client::connect(&url, postgres::NoTls).map_err(failed)?;
        client.batch_execute(&set).map_err(failed)?;
        Ok(client)
    };
    let processor = pupctl::projection::Processor::new(
        connect,
        Journal::new("all"),
        ProcessorConfig::default(),
    )
    .expect("a processor");
    let refused = processor
        .run_until_caught_up(&pupctl::projection::Interrupt::default())
        .expect_err("hidden events");
    assert!(refused.message().starts_with("row-level security hides events"), "{refused}");
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
