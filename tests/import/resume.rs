//! An import of several transactions that was ended in the middle: the same file goes on.

use crate::event::{Event, count, event, heads, lines};
use crate::file;
use crate::files::gzip;
use crate::support::{TestDatabase, TestServer};

/// One event for each of so many orders, each in a month of its own.
fn monthly(months: std::ops::RangeInclusive<u32>) -> Vec<Event> {
    let at = |n: u32| format!("{}-{:02}-07T00:00:00Z", 2013 + (n - 1) / 12, (n - 1) % 12 + 1);
    months.map(|number| event(number, 1).with("created_at", at(number))).collect()
}

/// A server where the rows of seven partitions fit into a transaction.
fn small() -> TestServer {
    TestServer::private(&[("max_locks_per_transaction", "10"), ("max_connections", "12")])
}

/// A store into which the first seven of 18 events went before the import was killed.
fn killed(server: &TestServer) -> TestDatabase {
    let db = TestDatabase::on(server);
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "0"]).success();
    let first = file(&db, lines(&monthly(1..=18)));
    let import = db.command(["events", "import", first, "--create-partitions"]);
    import.failpoints("import::copied=1*off->return").run().killed();
    assert_eq!(count(&db), 7);
    db
}

/// Imports in another way than the run that was killed. The report.
fn import(db: &TestDatabase, file: &str, input: Vec<u8>, more: &[&str]) -> serde_json::Value {
    let import = ["events", "import", file, "-o", "json", "--wait", "60s"];
    db.command(import.iter().chain(more)).stdin(input).run().success().json()
}

/// What the report tells: events, imported, existing, resumed.
fn numbers(report: &serde_json::Value) -> [u64; 4] {
    ["events", "imported", "existing", "resumed"].map(|key| report[key].as_u64().expect(key))
}

#[test]
fn the_same_lines_go_on_from_wherever_they_come() {
    let server = small();
    let text = lines(&monthly(1..=18));
    for input in [text.clone().into_bytes(), gzip(&text)] {
        let db = killed(&server);
        let report = import(&db, "-", input, &[]);
        assert_eq!(numbers(&report), [18, 11, 7, 7]);
        assert_eq!((count(&db), heads(&db).len()), (18, 18));
        let outcomes = ["schema init: done", "events import: interrupted", "events import: done"];
        assert_eq!(db.journal(), outcomes);
        // What came to its end is not gone on with: it would be in the store twice.
        let again = db.pupctl(["events", "import", "events.ndjson"]).failure(1);
        assert!(again.stderr.contains("line 1: the store has this event already"), "{again}");
    }
}

#[test]
fn a_longer_file_with_the_same_beginning_goes_on() {
    let server = small();
    let db = killed(&server);
    let longer = file(&db, lines(&monthly(1..=20)));
    let report = import(&db, longer, vec![], &["--create-partitions"]);
    assert_eq!(numbers(&report), [20, 13, 7, 7]);
}

#[test]
fn another_file_does_not_go_on() {
    let server = small();
    let db = killed(&server);
    let mut other = monthly(1..=18);
    other[3] = other[3].clone().with("event_type", "Other");
    for others in [&other[..], &monthly(2..=18)] {
        let file = file(&db, lines(others));
        let refused = db.pupctl(["events", "import", file, "--wait", "60s"]).failure(1);
        assert!(refused.stderr.contains("line 1: the store has this event already"), "{refused}");
    }
    assert_eq!(count(&db), 7);
    // Whoever says so gets what is missing.
    let report = import(&db, "events.ndjson", vec![], &["--skip-existing"]);
    assert_eq!(numbers(&report), [17, 11, 6, 0]);
    assert_eq!(count(&db), 18);
}

#[test]
fn a_run_that_was_interrupted_twice_goes_on() {
    let server = small();
    let db = killed(&server);
    let again = ["events", "import", "events.ndjson", "--wait", "60s"];
    // It passes the first part, of which nothing is missing, in a transaction too.
    db.command(again).failpoints("import::before_commit=2*off->return").run().killed();
    assert_eq!(count(&db), 14);
    let report = import(&db, "events.ndjson", vec![], &[]);
    assert_eq!(numbers(&report), [18, 4, 14, 14]);
}

#[test]
fn writers_may_append_behind_what_is_there() {
    let server = small();
    let db = killed(&server);
    let appended = crate::support::Append {
        context: "Shop",
        id: "o-3",
        head: None,
        events: 1,
        created_at: "2014-01-01T00:00:00Z",
    };
    appended.run(&mut db.client()).expect("an event");
    let report = import(&db, "events.ndjson", vec![], &[]);
    assert_eq!(numbers(&report), [18, 11, 7, 7]);
    assert!(heads(&db).contains(&"Shop|Order|o-3|2".to_owned()), "{:?}", heads(&db));
}

#[test]
fn more_partitions_than_the_server_can_lock_are_refused_up_front() {
    let server = small();
    let db = TestDatabase::on(&server);
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "0"]).success();
    let many = lines(&monthly(1..=40));
    let told = crate::refused(&db, many, &["--create-partitions"]);
    insta::assert_snapshot!(told, @"
    error: 41 leaves of the events table would need 207 locks in a statement that opens all of them; the server's lock table holds 120
    hint: set max_locks_per_transaction = 64 in postgresql.conf and restart the server; or choose fewer months, contexts or hash partitions
    ");
}
