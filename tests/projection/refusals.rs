//! Where a projection cannot be processed: it says so in words, and does not try for ever.

use pupctl::Error;
use pupctl::db::Interrupt;
use pupctl::projection::{Connect, Processor, ProcessorConfig, Runner};
use pupctl::server::Programs;

use crate::journal::{Journal, assert_whole};
use crate::support::{Standby, TestDatabase, TestServer};
use crate::{Running, append, await_caught_up, catch_up, connect, connect_to, store, store_on};

/// What a processor says, and a runner, which has to end by itself.
#[track_caller]
fn refused<C: Connect + 'static>(connect: impl Fn() -> C, config: &ProcessorConfig) -> Error {
    let processor = Processor::new(connect(), Journal::new("all"), config.clone());
    let processor = processor.expect("a processor");
    let error = processor.run_until_caught_up(&Interrupt::default()).expect_err("refused");
    let again = processor.run(&Interrupt::default()).expect_err("refused");
    assert_eq!(again.message(), error.message());
    let mut runner = Runner::new(connect());
    runner.add(Journal::new("all"), config.clone(), 2).expect("added");
    let said = Running::start(runner).outcome().expect_err("refused");
    assert!(!error.message().contains("db error"), "{error}");
    assert_eq!(said.message(), error.message());
    assert_eq!(said.hint_text(), error.hint_text());
    error
}

#[track_caller]
fn refused_in(db: &TestDatabase) -> Error {
    refused(|| connect(db), &ProcessorConfig::default())
}

#[test]
fn a_standby() {
    let programs = Programs::find().expect("server programs");
    let primary = TestServer::private_on(&programs, &[]);
    let db = store_on(&primary, "none");
    let standby = Standby::of(&primary, &programs);
    let url = standby.url_of(db.name());
    let error = refused(|| connect_to(&url), &ProcessorConfig::default());
    assert!(error.message().starts_with("the server is a standby"), "{error}");
    assert_eq!(error.hint_text(), Some("connect to the primary server"));
    // With rows that are there already too.
    append(&mut db.client(), "Sales", "o-1");
    catch_up(&db, Journal::new("all"), ProcessorConfig::default()).expect("caught up");
    crate::support::eventually("the standby has followed", || {
        let mut client = postgres::Client::connect(&url, postgres::NoTls).expect("a session");
        let sql = "SELECT count(*) FROM projection_checkpoints WHERE last_global_position = 1";
        client.query_one(sql, &[]).expect("a count").get::<_, i64>(0) == 1
    });
    let error = refused(|| connect_to(&url), &ProcessorConfig::default());
    assert!(error.message().starts_with("the server is a standby"), "{error}");
}

#[test]
fn a_store_that_a_subscription_fills() {
    let db = store("context");
    db.execute(
        "CREATE SUBSCRIPTION s CONNECTION 'dbname=none' PUBLICATION p WITH (connect = false)",
    );
    db.execute(
        "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate)
         SELECT oid, 'events_sales'::regclass, 'r' FROM pg_subscription WHERE subname = 's'",
    );
    let error = refused_in(&db);
    db.execute("DELETE FROM pg_subscription_rel");
    db.execute("ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s");
    assert!(error.message().contains("is filled by a subscription"), "{error}");
}

#[test]
fn sequences_that_do_not_count_one_by_one() {
    for (change, words) in
        [("CACHE 20", "has CACHE 20"), ("INCREMENT 2", "has INCREMENT 2"), ("CYCLE", "has CYCLE")]
    {
        let db = store("none");
        db.execute(&format!("ALTER SEQUENCE events_global_position_seq {change}"));
        let error = refused_in(&db);
        assert!(error.message().contains(words), "{error}");
        assert!(error.hint_text().is_some());
    }
}

/// The sessions that draw ahead would leave holes that nobody holds.
#[test]
fn a_sequence_that_begins_to_draw_ahead_while_it_runs() {
    let db = store("none");
    let mut runner = Runner::new(connect(&db));
    runner.add(Journal::new("all"), ProcessorConfig::default(), 1).expect("added");
    let running = Running::start(runner);
    append(&mut db.client(), "Sales", "o-1");
    await_caught_up(&db, "all");
    db.execute("ALTER SEQUENCE events_global_position_seq CACHE 20");
    let (mut first, mut second) = (db.client(), db.client());
    append(&mut first, "Sales", "o-1");
    append(&mut second, "Sales", "o-1");
    let error = running.outcome().expect_err("it ends");
    assert!(error.message().contains("has CACHE 20"), "{error}");
    append(&mut first, "Sales", "o-2");
    drop((first, second));
    db.execute("ALTER SEQUENCE events_global_position_seq CACHE 1");
    catch_up(&db, Journal::new("all"), ProcessorConfig::default()).expect("caught up");
    assert_whole(&db, "all");
}

#[test]
fn a_store_of_an_older_pupctl() {
    let db = store("none");
    db.execute(
        "ALTER TABLE projection_checkpoints DROP COLUMN projection CASCADE,
            DROP COLUMN epoch, DROP COLUMN slot",
    );
    let error = refused_in(&db);
    assert!(
        error.hint_text().is_some_and(|hint| hint.contains("pupctl projections init")),
        "{error}"
    );
    let db = store("none");
    db.execute("DROP TABLE projection_checkpoints");
    let error = refused_in(&db);
    assert!(
        error.hint_text().is_some_and(|hint| hint.contains("pupctl projections init")),
        "{error}"
    );
}

#[test]
fn a_schema_without_a_store() {
    let db = store("none");
    let config = ProcessorConfig::default().schema("elsewhere");
    let error = refused(|| connect(&db), &config);
    assert_eq!(error.message(), "the schema `elsewhere` holds no event store");
}

#[test]
fn rows_of_pupsourcings_processor() {
    for (rows, total) in [("('all', 7)", 1), ("('all_p0', 7), ('all_p1', 8), ('all_p2', 9)", 3)] {
        let db = store("none");
        db.execute(&format!(
            "INSERT INTO projection_checkpoints (projection_name, last_global_position)
             VALUES {rows}, ('all_others', 5), ('all_px', 5)"
        ));
        let error = refused_in(&db);
        assert!(error.message().contains("another processor keeps checkpoints"), "{error}");
        assert_eq!(error.detail_lines().len(), total);
        let hint = format!("pupctl projections adopt all --total {total}");
        assert!(error.hint_text().is_some_and(|text| text.contains(&hint)), "{error}");
    }
}

#[test]
fn a_role_without_rights() {
    for (right, mention) in [
        ("SELECT ON events", "events"),
        ("SELECT, USAGE ON SEQUENCE events_global_position_seq", "events_global_position_seq"),
        ("UPDATE ON projection_checkpoints", "projection_checkpoints"),
        ("INSERT ON projection_checkpoints", "projection_checkpoints"),
        ("SELECT ON projection_checkpoints", "projection_checkpoints"),
        ("SELECT ON pupctl_layout", "pupctl_layout"),
    ] {
        let db = store("none");
        append(&mut db.client(), "Sales", "o-1");
        let role = format!("role_{}", db.name());
        db.execute(&format!(
            "CREATE ROLE {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
             GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};
             REVOKE {right} FROM {role}"
        ));
        let url = db.url().to_owned();
        let as_role = || {
            let (url, role) = (url.clone(), role.clone());
            move |_: &str| {
                let failed = |error| Error::database("connecting", error);
                let mut client =
                    postgres::Client::connect(&url, postgres::NoTls).map_err(failed)?;
                client.batch_execute(&format!("SET ROLE {role}")).map_err(failed)?;
                Ok(client)
            }
        };
        let processor = Processor::new(as_role(), Journal::new("all"), ProcessorConfig::default());
        let processor = processor.expect("a processor");
        let error = processor.run(&Interrupt::default()).expect_err(right);
        assert!(error.message().contains(mention), "{right}: {error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("--role")), "{right}: {error}");
        let mut runner = Runner::new(as_role());
        runner.add(Journal::new("all"), ProcessorConfig::default(), 1).expect("added");
        let error = Running::start(runner).outcome().expect_err(right);
        assert!(error.message().contains(mention), "{right}: {error}");
        db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    }
}

#[test]
fn a_sequence_that_is_set_back_while_it_runs() {
    let db = store("none");
    for _ in 0..5 {
        append(&mut db.client(), "Sales", "o-1");
    }
    let mut runner = Runner::new(connect(&db));
    runner.add(Journal::new("all"), ProcessorConfig::default(), 1).expect("added");
    let running = Running::start(runner);
    await_caught_up(&db, "all");
    db.execute("SELECT setval('events_global_position_seq', 2)");
    let error = running.outcome().expect_err("it ends");
    assert_eq!(error.message(), "the sequence of positions went back from 5 to 2");
    // Nor does it begin where it is so already.
    let error = refused_in(&db);
    assert_eq!(error.message(), "the sequence of positions went back from 5 to 2");
    db.execute("SELECT setval('events_global_position_seq', 5)");
    append(&mut db.client(), "Sales", "o-1");
    catch_up(&db, Journal::new("all"), ProcessorConfig::default()).expect("caught up");
    assert_whole(&db, "all");
}

/// A role or a database may have another one by default.
#[test]
fn another_isolation_by_default_is_not_taken() {
    for isolation in ["repeatable read", "serializable"] {
        let db = store("none");
        let alter = format!(
            "ALTER DATABASE {} SET default_transaction_isolation = '{isolation}'",
            db.name()
        );
        db.execute(&alter);
        let mut runner = Runner::new(connect(&db));
        let config = ProcessorConfig::default().slots(4).batch_size(5);
        runner.add(Journal::new("all"), config, 4).expect("added");
        let running = Running::start(runner);
        let mut client = db.client();
        for number in 0..100 {
            append(&mut client, "Sales", &format!("o-{}", number % 9));
        }
        await_caught_up(&db, "all");
        running.stop();
        assert_whole(&db, "all");
    }
}
