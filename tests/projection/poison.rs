//! Events that cannot be handled, wherever they are in a batch and whenever that shows.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pupctl::db::Interrupt;
use pupctl::error::Kind;
use pupctl::projection::{
    ErrorPolicy, Event, HandlerError, Processor, ProcessorConfig, Projection, Runner, Transaction,
};

use crate::journal::{self, Journal, assert_whole};
use crate::support::{TestDatabase, eventually};
use crate::{Running, append, await_caught_up, catch_up, connect, fill, positions, store};

/// What the journal lacks of so many events.
fn lacking(db: &TestDatabase, events: i64) -> Vec<i64> {
    let handled: HashSet<i64> = journal::positions(db, "all").into_iter().collect();
    (1..=events).filter(|position| !handled.contains(position)).collect()
}

fn letters(db: &TestDatabase) -> String {
    db.one(
        "SELECT coalesce(string_agg(global_position || ' ' || state, ', '
            ORDER BY global_position), '') FROM projection_dead_letters",
    )
}

fn skipping() -> ProcessorConfig {
    ProcessorConfig::default().batch_size(10).on_error(ErrorPolicy::Skip)
}

#[test]
fn poison_at_any_place_of_a_batch_is_found_alone() {
    for poison in
        [&[1][..], &[5], &[10], &[11], &[3, 7], &[1, 2], &[9, 10], &[10, 11], &[1, 10, 30]]
    {
        let db = store("none");
        fill(&db, "Sales", 30, 30);
        let failing = Journal::failing_at("all", poison);
        let report = catch_up(&db, failing, skipping()).expect("caught up");
        assert_eq!(report.dead_letters, poison.len() as u64);
        assert_eq!(lacking(&db, 30), poison);
        let attempts: i64 = db.one("SELECT max(attempts)::bigint FROM projection_dead_letters");
        assert_eq!(attempts, 1);
    }
}

#[test]
fn a_batch_with_poison_is_divided_as_little_as_it_can_be() {
    let db = store("none");
    fill(&db, "Sales", 64, 64);
    // A row is of the transaction, or the savepoint, in which it was written.
    let config = skipping().batch_size(64);
    catch_up(&db, Journal::failing_at("all", &[40]), config).expect("caught up");
    let parts: i64 = db.one("SELECT count(DISTINCT xmin::text) FROM journal");
    assert_eq!(parts, 6, "halves of halves around one event of 64");
}

/// Makes a trigger that fails at the commit for these positions.
fn fail_at_commit(db: &TestDatabase, positions: &str) {
    db.execute(&format!(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
            IF NEW.position IN ({positions}) THEN
                RAISE EXCEPTION 'position % fails late', NEW.position;
            END IF;
            RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON journal
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail()"
    ));
}

#[test]
fn poison_that_shows_at_the_commit_is_found_alone() {
    let db = store("none");
    fill(&db, "Sales", 30, 30);
    fail_at_commit(&db, "1, 17, 18, 30");
    catch_up(&db, Journal::new("all"), skipping()).expect("caught up");
    assert_eq!(lacking(&db, 30), [1, 17, 18, 30]);
    let error: String =
        db.one("SELECT error FROM projection_dead_letters WHERE global_position = 17");
    assert!(error.contains("position 17 fails late"), "{error}");
}

#[test]
fn poison_that_shows_at_once_and_poison_that_shows_at_the_commit_in_one_batch() {
    for policy in [ErrorPolicy::Skip, ErrorPolicy::Park] {
        let db = store("none");
        fill(&db, "Sales", 20, 20);
        fail_at_commit(&db, "4, 8, 14");
        let failing = Journal::failing_at("all", &[3, 8]);
        catch_up(&db, failing, skipping().on_error(policy)).expect("caught up");
        assert_eq!(lacking(&db, 20), [3, 4, 8, 14]);
    }
}

#[test]
fn a_runner_stops_at_poison_that_shows_at_the_commit() {
    let db = store("none");
    fill(&db, "Sales", 20, 20);
    fail_at_commit(&db, "14");
    let mut runner = Runner::new(connect(&db));
    let config = ProcessorConfig::default().batch_size(10);
    runner.add(Journal::new("all"), config, 1).expect("added");
    let stopped = Running::start(runner).outcome().expect_err("it stopped");
    assert!(stopped.message().contains("stopped at position 14"), "{stopped}");
    assert_eq!(positions(&db, "all"), [13]);
}

/// Writes rows that need each other, in an order that only the commit allows.
struct Deferring(Journal);

impl Projection for Deferring {
    fn name(&self) -> &'static str {
        "all"
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        tx.execute("INSERT INTO child VALUES ($1)", &[&event.global_position])?;
        if event.global_position != 2 {
            tx.execute("INSERT INTO parent VALUES ($1)", &[&event.global_position])?;
        }
        self.0.handle(tx, event)
    }
}

#[test]
fn looking_for_what_fails_at_the_commit_leaves_other_events_their_order() {
    let db = store("none");
    fill(&db, "Sales", 10, 10);
    db.execute(
        "CREATE TABLE parent (id bigint PRIMARY KEY);
         CREATE TABLE child (id bigint REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    );
    catch_up(&db, Deferring(Journal::new("all")), skipping()).expect("caught up");
    assert_eq!(lacking(&db, 10), [2]);
}

/// What a handler may do that it should not.
#[derive(Clone, Copy)]
enum Sin {
    Panic,
    /// A statement fails, and the handler goes on.
    Swallow,
    /// The transaction ends, by this statement; whether it says that it failed then.
    End(&'static str, bool),
}

struct Sinner {
    at: i64,
    sin: Sin,
}

impl Projection for Sinner {
    fn name(&self) -> &'static str {
        "all"
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        tx.execute(
            "INSERT INTO journal (projection, position, context, aggregate, version)
             VALUES ('all', $1, $2, $3, $4) ON CONFLICT DO NOTHING",
            &[
                &event.global_position,
                &event.bounded_context,
                &event.aggregate_id,
                &event.aggregate_version,
            ],
        )?;
        if event.global_position == self.at {
            match self.sin {
                Sin::Panic => panic!("out of cheese"),
                Sin::Swallow => drop(tx.execute("SELECT 1 / 0", &[])),
                Sin::End(sql, fails) => {
                    tx.batch_execute(sql)?;
                    if fails {
                        return Err("it failed after that".into());
                    }
                }
            }
        }
        Ok(())
    }
}

#[test]
fn a_panic_of_a_handler_is_an_error_like_any_other() {
    let db = store("none");
    fill(&db, "Sales", 30, 30);
    catch_up(&db, Sinner { at: 15, sin: Sin::Panic }, skipping()).expect("caught up");
    assert_eq!(lacking(&db, 30), [15]);
    let error: String = db.one("SELECT error FROM projection_dead_letters");
    assert_eq!(error, "the handler panicked: out of cheese");
}

#[test]
fn a_handler_that_goes_on_after_a_failed_statement_is_found_out() {
    for at in [1, 15, 30] {
        let db = store("none");
        fill(&db, "Sales", 30, 30);
        catch_up(&db, Sinner { at, sin: Sin::Swallow }, skipping()).expect("caught up");
        assert_eq!(lacking(&db, 30), [at]);
        let db = store("none");
        fill(&db, "Sales", 30, 30);
        let config = ProcessorConfig::default().batch_size(10);
        let stopped =
            catch_up(&db, Sinner { at, sin: Sin::Swallow }, config).expect_err("it stops");
        assert!(stopped.message().contains(&format!("stopped at position {at}")), "{stopped}");
        assert_eq!(positions(&db, "all"), [at - 1]);
    }
}

#[test]
fn a_handler_that_ends_the_transaction_stops_the_projection_and_nothing_is_passed_over() {
    for sql in ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "ROLLBACK; BEGIN", "COMMIT AND CHAIN"] {
        for fails in [false, true] {
            let db = store("none");
            fill(&db, "Sales", 30, 30);
            let sinner = || Sinner { at: 15, sin: Sin::End(sql, fails) };
            let error = catch_up(&db, sinner(), skipping()).expect_err(sql);
            assert_eq!(error.kind(), Kind::Refused, "{sql} {fails}: {error}");
            assert!(error.message().contains("ended the transaction"), "{sql} {fails}: {error}");
            // Small batches may share a transaction, and it is the whole of it that was ended.
            assert!(positions(&db, "all")[0] <= 10, "{sql} {fails}");
            assert_eq!(letters(&db), "", "{sql} {fails}");
            // A runner does not try again.
            let mut runner = Runner::new(connect(&db));
            runner.add(sinner(), skipping(), 1).expect("added");
            let stopped = Running::start(runner).outcome().expect_err("it stopped");
            assert_eq!(stopped.message(), error.message(), "{sql} {fails}");
            // Mended, nothing is missing.
            let mended = Sinner { at: 0, sin: Sin::Panic };
            catch_up(&db, mended, skipping()).expect("caught up");
            assert_eq!(lacking(&db, 30), [0; 0], "{sql} {fails}");
        }
    }
}

/// Handles whole batches by one statement.
struct Batched(Journal);

impl Projection for Batched {
    fn name(&self) -> &'static str {
        "all"
    }

    fn handle(&self, _: &mut Transaction<'_>, _: &Event) -> Result<(), HandlerError> {
        unreachable!("it handles batches")
    }

    fn handle_batch(&self, tx: &mut Transaction<'_>, events: &[Event]) -> Result<(), HandlerError> {
        let poison = self.0.poison.lock().expect("nobody panicked").clone();
        if events.iter().any(|event| poison.contains(&event.global_position)) {
            return Err(format!("a batch of {} cannot be handled", events.len()).into());
        }
        let positions: Vec<i64> = events.iter().map(|event| event.global_position).collect();
        let ids: Vec<&str> = events.iter().map(|event| event.aggregate_id.as_str()).collect();
        let versions: Vec<i64> = events.iter().map(|event| event.aggregate_version).collect();
        tx.execute(
            "INSERT INTO journal (projection, position, context, aggregate, version)
             SELECT 'all', position, 'Sales', aggregate, version
             FROM unnest($1::bigint[], $2::text[], $3::bigint[])
                AS event (position, aggregate, version)",
            &[&positions, &ids, &versions],
        )?;
        Ok(())
    }
}

#[test]
fn a_handler_of_batches_is_given_smaller_ones() {
    let db = store("none");
    fill(&db, "Sales", 30, 30);
    let failing = Batched(Journal::failing_at("all", &[1, 14, 15]));
    catch_up(&db, failing, skipping()).expect("caught up");
    assert_eq!(lacking(&db, 30), [1, 14, 15]);
    let error: String = db.one("SELECT DISTINCT error FROM projection_dead_letters");
    assert_eq!(error, "a batch of 1 cannot be handled");
}

/// Asks for all dead letters to be handled once more, as the command does: the slots first.
fn replay(db: &TestDatabase) {
    db.execute(
        "BEGIN;
         UPDATE projection_checkpoints SET replay_at = now();
         UPDATE projection_dead_letters SET replay_at = now();
         COMMIT",
    );
}

#[test]
fn a_parked_aggregate_is_replayed_in_order_while_its_events_keep_coming() {
    let db = store("none");
    let journal = Arc::new(Journal::failing_at("all", &[1]));
    let mut runner = Runner::new(connect(&db));
    let config = ProcessorConfig::default().slots(4).batch_size(5).on_error(ErrorPolicy::Park);
    runner.add_shared(Arc::clone(&journal) as Arc<dyn Projection>, config, 2).expect("added");
    let running = Running::start(runner);
    let mut client = db.client();
    let mut number = 0;
    let mut write = |events: i32| {
        for _ in 0..events {
            let id =
                if number % 4 == 0 { "bad".to_owned() } else { format!("good-{}", number % 9) };
            append(&mut client, "Sales", &id);
            number += 1;
        }
    };
    let waiting = "SELECT count(*) FROM projection_dead_letters";
    for _ in 0..3 {
        write(60);
        eventually("events wait", || db.one::<i64>(waiting) >= 15);
        // In vain, and its events keep coming.
        replay(&db);
        write(20);
        await_caught_up(&db, "all");
    }
    journal.poison.lock().expect("nobody panicked").clear();
    replay(&db);
    write(80);
    eventually("none waits", || db.one::<i64>(waiting) == 0);
    write(20);
    await_caught_up(&db, "all");
    running.stop();
    assert_whole(&db, "all");
    let parked: i64 =
        db.one("SELECT count(*) FROM projection_checkpoints WHERE parked OR replay_at IS NOT NULL");
    assert_eq!(parked, 0);
}

#[test]
fn a_replay_that_fails_at_the_commit_or_swallows_keeps_its_letter() {
    for sin in [None, Some(Sin::Swallow)] {
        let db = store("none");
        fill(&db, "Sales", 10, 2);
        let config = || skipping().on_error(ErrorPolicy::Park);
        catch_up(&db, Journal::failing_at("all", &[3]), config()).expect("caught up");
        assert_eq!(letters(&db), "3 failed, 5 waiting, 7 waiting, 9 waiting");
        replay(&db);
        match sin {
            None => {
                fail_at_commit(&db, "3");
                catch_up(&db, Journal::new("all"), config()).expect("caught up");
            }
            Some(sin) => {
                catch_up(&db, Sinner { at: 3, sin }, config()).expect("caught up");
            }
        }
        assert_eq!(letters(&db), "3 failed, 5 waiting, 7 waiting, 9 waiting");
        assert_eq!(db.one::<i32>("SELECT max(attempts) FROM projection_dead_letters"), 2);
    }
}

/// Takes long over each event, in a statement.
struct Slow;

impl Projection for Slow {
    fn name(&self) -> &'static str {
        "all"
    }

    fn handle(&self, tx: &mut Transaction<'_>, _: &Event) -> Result<(), HandlerError> {
        tx.execute("SELECT pg_sleep(30)", &[])?;
        Ok(())
    }
}

#[test]
fn a_statement_that_is_cancelled_at_the_end_makes_no_dead_letter() {
    let db = store("none");
    fill(&db, "Sales", 4, 4);
    let mut runner = Runner::new(connect(&db));
    // The driver alone cannot cancel through a closure.
    let config = ProcessorConfig::default().on_error(ErrorPolicy::Skip);
    runner.add(Slow, config, 1).expect("added").deadline(Duration::from_millis(300));
    let running = Running::start(runner);
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND query LIKE '%pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()";
    eventually("it sleeps", || db.one::<i64>(sleeping) == 1);
    running.stop.raise();
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'pupctl/projection all'";
    let mut client = db.client();
    eventually("it ends", || {
        client.query_one(cancel, &[]).expect("a count");
        running.is_over()
    });
    drop(running.outcome());
    assert_eq!(letters(&db), "");
    assert_eq!(positions(&db, "all"), [0]);
}

#[test]
fn a_strategy_that_panics_stops_the_projection() {
    struct Panics;
    impl pupctl::projection::PartitionStrategy for Panics {
        fn name(&self) -> &'static str {
            "panics"
        }
        fn slot(&self, _: &Event, _: u32) -> u32 {
            panic!("no idea")
        }
    }
    let db = store("none");
    fill(&db, "Sales", 4, 4);
    let config = || ProcessorConfig::default().strategy(Panics).pinned(0, 2);
    let processor = Processor::new(connect(&db), Journal::new("all"), config());
    let error = processor.expect("a processor").run_until_caught_up(&Interrupt::default());
    let error = error.expect_err("it stops");
    assert!(error.message().contains("no idea"), "{error}");
    let mut runner = Runner::new(connect(&db));
    runner.add(Journal::new("all"), config(), 1).expect("added");
    let stopped = Running::start(runner).outcome().expect_err("it stopped");
    assert!(stopped.message().contains("no idea"), "{stopped}");
}
