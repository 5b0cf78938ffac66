//! Whoever has written waits until a projection has read it.

use std::time::{Duration, Instant};

use postgres::{Client, NoTls};
use pupctl::projection::wait::for_position;

use crate::{append, handled, store, work};

fn wait(client: &mut Client, arguments: &str) -> Result<Option<bool>, String> {
    let sql = format!("SELECT pupctl_wait({arguments})");
    match client.query_one(&sql, &[]) {
        Ok(row) => Ok(row.get(0)),
        Err(error) => {
            let reported = error.as_db_error().expect("an answer of the server");
            let hint = reported.hint().unwrap_or_default();
            Err(format!("{} ({hint})", reported.message()))
        }
    }
}

#[test]
fn what_is_reached_is_told_at_once() {
    for slots in [1, 4] {
        let db = handled(slots);
        let mut client = db.client();
        for arguments in ["'code', 60", "'sql', 1, '0'", "'code', 60, interval '-1 second'"] {
            assert_eq!(wait(&mut client, arguments), Ok(Some(true)), "{arguments}");
        }
        let begin = Instant::now();
        assert_eq!(wait(&mut client, "'code', 61, interval '300 ms'"), Ok(Some(false)));
        assert!((300..3_000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
        assert_eq!(wait(&mut client, "'code', 61, '0'"), Ok(Some(false)));
        for nothing in ["NULL, 1", "'code', NULL", "'code', 1, NULL"] {
            assert_eq!(wait(&mut client, nothing), Ok(None), "{nothing}");
        }
        let mut wait = |position, timeout| {
            for_position(&mut client, "public", "code", position, Duration::from_millis(timeout))
        };
        assert!(wait(60, 0).expect("reached"));
        assert!(!wait(61, 0).expect("not reached"));
        let begin = Instant::now();
        assert!(!wait(61, 700).expect("not reached"));
        assert!(begin.elapsed() >= Duration::from_millis(700), "{:?}", begin.elapsed());
    }
}

#[test]
fn it_waits_for_the_last_slot() {
    let db = handled(4);
    append(&db, 0..20);
    db.execute("UPDATE projection_checkpoints SET paused_at = now() WHERE slot = 2");
    let runner = crate::runner(&db, 4);
    let stop = runner.stopper();
    let running = std::thread::spawn(move || runner.run());
    let mut client = db.client();
    let waits = std::thread::spawn({
        let url = db.url().to_owned();
        move || {
            let mut client = Client::connect(&url, NoTls).expect("a session");
            wait(&mut client, "'sql', 80, interval '1 minute'")
        }
    });
    let long = Duration::from_mins(1);
    assert!(!for_position(&mut client, "public", "code", 80, Duration::from_secs(1)).expect("no"));
    assert!(!waits.is_finished());
    db.execute("UPDATE projection_checkpoints SET paused_at = NULL");
    assert!(for_position(&mut client, "public", "code", 80, long).expect("it comes"));
    assert_eq!(waits.join().expect("no panic"), Ok(Some(true)));
    stop.raise();
    running.join().expect("no panic").expect("stopped");
}

#[test]
fn who_is_not_there_is_told() {
    let db = handled(1);
    let mut client = db.client();
    let unknown = wait(&mut client, "'it''s', 1").expect_err("it is not there");
    assert!(unknown.contains("there is no projection it's"), "{unknown}");
    assert!(unknown.contains("pupctl projections list"), "{unknown}");
    let error = for_position(&mut client, "public", "it's", 1, Duration::ZERO);
    let error = error.expect_err("it is not there");
    assert!(error.message().contains("there is no projection it's"), "{error}");
    let name = "it's \"mine\"";
    db.pupctl(["projections", "init", name, "--slots", "2"]).success();
    assert!(!for_position(&mut client, "public", name, 1, Duration::ZERO).expect("it is there"));
    assert!(for_position(&mut client, "public", name, 0, Duration::ZERO).expect("it is there"));
    // Those of other libraries are known by their rows.
    db.execute("INSERT INTO projection_checkpoints VALUES ('theirs', 7)");
    assert_eq!(wait(&mut client, "'theirs', 7"), Ok(Some(true)));
}

#[test]
fn who_would_wait_for_ever_is_refused() {
    let db = handled(1);
    let mut client = db.client();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).expect("a transaction");
        let refused = wait(&mut client, "'code', 60").expect_err("it sees nothing new");
        assert!(refused.contains(&level.to_lowercase()), "{refused}");
        client.batch_execute("ROLLBACK").expect("its end");
    }
    client.batch_execute("BEGIN").expect("a transaction");
    assert_eq!(wait(&mut client, "'code', 60"), Ok(Some(true)));
    client.batch_execute(&crate::insert(12, "order-1")).expect("an event");
    let refused = wait(&mut client, "'code', 60").expect_err("its own events");
    assert!(refused.contains("Commit first"), "{refused}");
    client.batch_execute("ROLLBACK").expect("its end");
    // The library waits in statements of their own.
    client
        .batch_execute("SET default_transaction_isolation = 'read committed'")
        .expect("a setting");
    append(&db, 0..3);
    let worker = std::thread::scope(|scope| {
        let waits = scope
            .spawn(|| for_position(&mut db.client(), "public", "sql", 63, Duration::from_mins(1)));
        work(&db, 1);
        waits.join().expect("no panic")
    });
    assert!(worker.expect("it comes"));
}

#[test]
fn a_role_that_may_only_read() {
    let db = store("none");
    append(&db, 0..3);
    work(&db, 1);
    let role = format!("reader_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role};
         GRANT SELECT ON projection_checkpoints TO {role}"
    ));
    let mut client = db.client();
    client.batch_execute(&format!("SET ROLE {role}; SET search_path = ''")).expect("a role");
    assert!(for_position(&mut client, "public", "code", 3, Duration::ZERO).expect("it may"));
    let row = client.query_one("SELECT public.pupctl_wait('code', 3)", &[]).expect("it may");
    assert!(row.get::<_, bool>(0));
    client.batch_execute("SET default_transaction_read_only = on").expect("a setting");
    assert!(for_position(&mut client, "public", "code", 3, Duration::ZERO).expect("it may"));
    drop(client);
    db.execute(&format!("REVOKE SELECT ON projection_checkpoints FROM {role}"));
    let mut client = db.client();
    client.batch_execute(&format!("SET ROLE {role}")).expect("a role");
    let error = for_position(&mut client, "public", "code", 3, Duration::ZERO);
    let error = error.expect_err("it may not");
    assert!(error.message().contains("projection_checkpoints"), "{error}");
    drop(client);
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
