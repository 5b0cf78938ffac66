//! Past months are sealed, and opened again.

#[path = "../support/mod.rs"]
mod support;

use insta::assert_snapshot;
use pupctl::store::{ExpectedVersion, NewEvent, Store, StreamId};

use support::{Append, Output, TestDatabase, eventually};

/// A store with the last two months and some of the events of each.
fn store(by: &str, more: &[&str]) -> TestDatabase {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", by, "--months", "0"];
    db.pupctl(init.iter().chain(more)).success();
    db.pupctl(["partitions", "ensure", "--from", &db.month(-3)]).success();
    let mut client = db.client();
    for (id, month) in [("1", -2), ("2", -1), ("3", -2), ("4", -1), ("5", 0)] {
        let created_at = format!("{}-01T00:00:00Z", db.month(month));
        let append = Append { context: "A", id, head: None, events: 3, created_at: &created_at };
        append.run(&mut client).expect("an append");
    }
    db
}

fn close(db: &TestDatabase, more: &[&str]) -> Output {
    db.pupctl(["partitions", "close", "--wait", "60s"].iter().chain(more))
}

fn leaf(db: &TestDatabase, month: i32) -> String {
    format!("events_{}", db.month(month).replace('-', "_"))
}

/// The CHECKs of closed months, with the recorded numbers.
fn closed(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT format('%s %s valid=%s: %s', con.conrelid::regclass, pg_get_constraintdef(con.oid),
            con.convalidated, (SELECT format('%s rows %s to %s', rows, first_position, last_position)
                FROM public.pupctl_closed_partitions WHERE table_oid = con.conrelid))
         FROM pg_catalog.pg_constraint AS con
         WHERE conname = 'closed_use_pupctl_partitions_reopen' ORDER BY 1",
    )
}

#[test]
fn a_closed_month_takes_no_more_events_and_says_why() {
    let db = store("month", &[]);
    let told = close(&db, &[&db.month(-2)]).success();
    assert!(told.stderr.contains("Done: 1 partition closed"), "{told}");
    let month = db.month(-2);
    let name = leaf(&db, -2);
    assert_eq!(
        closed(&db),
        [format!(
            "public.{name} CHECK (((global_position >= 1) AND (global_position <= 9))) valid=t: 6 rows 1 to 9"
        )]
    );
    // It is as it should be: nobody proposes to drop the CHECK.
    db.pupctl(["schema", "verify", "--exit-code"]).success();
    let created_at = format!("{month}-05T00:00:00Z");
    let late = Append { context: "A", id: "9", head: None, events: 1, created_at: &created_at };
    let error = late.run(&mut db.client()).expect_err("it is closed");
    let constraint = error.as_db_error().and_then(|error| error.constraint());
    assert_eq!(constraint, Some("closed_use_pupctl_partitions_reopen"));
    // pupctl's own ways in say it in words.
    let mut client = db.client();
    let events = Store::open(&mut client, "public").expect("a store");
    let mut transaction = client.transaction().expect("a transaction");
    let event = NewEvent::new(StreamId::new("A", "Order", "9"), uuid::Uuid::nil(), "Late")
        .created_at(created_at.parse().expect("an instant"));
    let error = events.append(&mut transaction, ExpectedVersion::Any, &[event]).expect_err("late");
    let error = pupctl::Error::from(error);
    assert!(error.message().contains(&format!("{name} is closed")), "{error:?}");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("partitions reopen")), "{error:?}");
    drop(transaction);
    let line = format!(
        "{{\"bounded_context\":\"A\",\"aggregate_type\":\"Order\",\"aggregate_id\":\"9\",\
         \"aggregate_version\":1,\"event_type\":\"E\",\"payload\":1,\
         \"event_id\":\"00000000-0000-4000-8000-000000000001\",\"created_at\":\"{created_at}\"}}\n"
    );
    std::fs::write(db.folder().join("late.ndjson"), line).expect("a file");
    let told = db.pupctl(["events", "import", "late.ndjson"]).failure(1);
    assert!(told.stderr.contains(&format!("{name} is closed, it takes no more events")), "{told}");

    let list = db.pupctl(["partitions", "list"]).success();
    assert!(list.stdout.contains(&format!("{month} (closed)")), "{list}");
    // Once more, and open again.
    let told = close(&db, &[&name]).success();
    assert!(told.stderr.contains("Nothing to do: they are closed"), "{told}");
    db.pupctl(["partitions", "reopen", &month]).success();
    assert!(closed(&db).is_empty());
    assert_eq!(db.one::<i64>("SELECT count(*) FROM pupctl_closed_partitions"), 0);
    let told = db.pupctl(["partitions", "reopen", &month]).success();
    assert!(told.stderr.contains("Nothing to do: they are open"), "{told}");
    db.pupctl(["events", "import", "late.ndjson"]).success();
}

#[test]
fn all_past_months_are_closed_and_empty_ones_take_nothing() {
    let db = store("context,month", &["--contexts", "A,B"]);
    let told = close(&db, &["--all-past", "-o", "json"]).success();
    let months = told.json()["closed"].as_array().expect("a list").len();
    // Three months of each context.
    assert_eq!(months, 6, "{told}");
    let text = closed(&db).join("\n");
    assert_eq!(text.matches("CHECK (false)").count(), 4, "{text}");
    let digests: i64 =
        db.one("SELECT count(DISTINCT digest) FROM pupctl_closed_partitions WHERE rows > 0");
    assert_eq!(digests, 2);
    let current = db.month(0);
    assert!(!text.contains(&current.replace('-', "_")), "{text}");
    let empty = format!("B/{}", db.month(-1));
    db.pupctl(["partitions", "reopen", &empty]).success();
    let told = close(&db, &[&db.month(-1), "--context", "B"]).success();
    assert!(told.stderr.contains("1 partition closed"), "{told}");
    // New months are not closed.
    db.pupctl(["partitions", "ensure", "--months", "2", "--from", &db.month(-5)]).success();
    assert_eq!(closed(&db).len(), 6);
}

#[test]
fn frozen_rows_and_a_whole_index() {
    let db = store("month", &[]);
    let name = leaf(&db, -1);
    close(&db, &[&name]).success();
    let frozen: bool =
        db.one(&format!("SELECT relallvisible = relpages FROM pg_class WHERE relname = '{name}'"));
    assert!(frozen);
    let before: String = db.one("SELECT digest FROM pupctl_closed_partitions");
    db.execute(&format!("UPDATE {name} SET trace_id = 'x' WHERE aggregate_version = 1"));
    db.pupctl(["partitions", "reopen", &name]).success();
    close(&db, &[&name]).success();
    assert_ne!(db.one::<String>("SELECT digest FROM pupctl_closed_partitions"), before);
}

#[test]
fn only_what_is_past_is_closed() {
    let db = store("month", &[]);
    let told = close(&db, &[&db.month(0)]).failure(1);
    assert!(told.stderr.contains("is not past"), "{told}");
    let told = close(&db, &[&db.month(-1), "--grace", "3650days"]).failure(1);
    assert!(told.stderr.contains("is not past"), "{told}");
    let told = close(&db, &["2001-01"]).failure(2);
    assert!(told.stderr.contains("no context, partition or month 2001-01"), "{told}");
    let told = close(&db, &[]).failure(2);
    assert!(told.stderr.contains("<PARTITION>"), "{told}");
    let contexts = store("context", &["--contexts", "A"]);
    let told = close(&contexts, &["A"]).failure(2);
    assert!(told.stderr.contains("is not the partition of a month"), "{told}");
    // A store that has seen a later time than the clock shows.
    let db = store("month", &[]);
    db.pupctl(["partitions", "ensure", "--months", "3"]).success();
    let created_at = format!("{}-05T00:00:00Z", db.month(2));
    let append = Append { context: "A", id: "7", head: None, events: 1, created_at: &created_at };
    append.run(&mut db.client()).expect("an append");
    let told = close(&db, &[&db.month(-1)]).failure(1);
    assert!(told.stderr.contains("and the server's clock says"), "{told}");
}

#[test]
fn writers_of_the_month_are_waited_for() {
    let db = store("month", &[]);
    let name = leaf(&db, -1);
    let mut writer = db.client();
    writer.batch_execute("BEGIN").expect("a transaction");
    let sql = format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         VALUES ('A', 'Order', 'slow', 1, gen_random_uuid(), 'E', '', '{}-03T00:00:00Z')",
        db.month(-1)
    );
    writer.batch_execute(&sql).expect("an event");
    let told = close(&db, &[&name, "--lock-budget", "1s"]).failure(1);
    assert!(told.stderr.contains("events up to position 16 may still appear"), "{told}");
    let run = db.command(["partitions", "close", &name]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(500));
    writer.batch_execute("COMMIT").expect("the end");
    run.wait().success();
    eventually("it is closed", || closed(&db).len() == 1);
    assert!(closed(&db)[0].contains("global_position <= 16"), "{:?}", closed(&db));
}

#[test]
fn one_of_many_closes() {
    let db = store("month", &[]);
    let command = ["partitions", "close", "--all-past", "--wait", "60s"];
    let runs: Vec<_> = (0..3).map(|_| db.command(command).spawn()).collect();
    let told: Vec<_> = runs.into_iter().map(|run| run.wait().success().stderr).collect();
    assert_eq!(told.iter().filter(|told| told.contains("Done:")).count(), 1, "{told:?}");
    assert_eq!(closed(&db).len(), 3);
}

#[test]
fn a_check_that_was_dropped_by_hand_is_found_and_mended() {
    let db = store("month", &[]);
    let name = leaf(&db, -1);
    close(&db, &[&name]).success();
    db.execute(&format!("ALTER TABLE {name} DROP CONSTRAINT closed_use_pupctl_partitions_reopen"));
    let told = db.pupctl(["partitions", "check", "--exit-code"]).failure(3);
    assert!(told.stdout.contains("closed_without_check"), "{told}");
    close(&db, &[&name]).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}

#[test]
fn a_dry_run_prints_what_psql_can_run() {
    let db = store("month", &[]);
    let name = leaf(&db, -1);
    let before = support::fingerprint(&mut db.client());
    let told = close(&db, &[&name, "--dry-run"]).success();
    assert_eq!(support::fingerprint(&mut db.client()), before);
    let oid: u32 = db.one(&format!("SELECT '{name}'::regclass::oid"));
    let sql = told.stdout.replace(&oid.to_string(), "<oid>").replace(&name, "<leaf>");
    let (first, second) = (db.month(-1), db.month(0));
    assert_snapshot!(sql.replace(&first, "<month>").replace(&second, "<next>"));
    std::fs::write(db.folder().join("close.sql"), &told.stdout).expect("a file");
    db.psql(["-f", "close.sql"]).success();
    assert!(close(&db, &[&name]).success().stderr.contains("Nothing to do"));
    let told = db.pupctl(["partitions", "reopen", &name, "--dry-run"]).success();
    std::fs::write(db.folder().join("reopen.sql"), &told.stdout).expect("a file");
    db.psql(["-f", "reopen.sql"]).success();
    assert!(closed(&db).is_empty());
}

#[cfg(feature = "failpoints")]
#[test]
fn killed_anywhere_the_next_run_finishes() {
    let undisturbed = store("month", &[]);
    close(&undisturbed, &["--all-past"]).success();
    let wanted = closed(&undisturbed);
    let points =
        [("operation::started", 1), ("execute::after_step", 12), ("operation::before_end", 1)];
    for (point, times) in points {
        for passed in 0..times {
            let db = store("month", &[]);
            let action = if passed == 0 { String::new() } else { format!("{passed}*off->") };
            let command = db.command(["partitions", "close", "--all-past"]);
            command.failpoints(&format!("{point}={action}return")).run().killed();
            close(&db, &["--all-past"]).success();
            assert_eq!(closed(&db), wanted, "{point} after {passed}");
            let told = close(&db, &["--all-past"]).success();
            assert!(told.stderr.contains("Nothing to do"), "{told}");
        }
    }
}
