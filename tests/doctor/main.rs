//! `pupctl doctor`: what is broken by hand is found, and gone after what the finding names was
//! done; a sound store has no problem; whoever may see little is told so.

#[path = "../support/mod.rs"]
mod support;

mod archives;
mod projections;
mod reading;
mod rights;
mod server;
mod store;

use support::{Output, TestDatabase};

const NOTHING: [&str; 0] = [];

/// What the shared server of the tests is found to have on every store: its commits reach no disk,
/// and its sessions may be idle for ever.
const OF_THE_SERVER: [&str; 3] = ["durability", "idle_sessions", "server_version"];

/// A store by month with the current month and the next.
fn by_month() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "-q", "--partition-by", "month", "--months", "1"]).success();
    db
}

/// The ending of a month's partition, this far from the current month.
fn suffix(db: &TestDatabase, ahead: i32) -> String {
    db.month(ahead).replace('-', "_")
}

/// A finding: severity, check, object and remedy.
struct Found {
    severity: String,
    check: String,
    object: String,
    remedy: Option<String>,
}

/// All findings on the store, those on the server of the tests apart.
#[track_caller]
fn all(db: &TestDatabase, arguments: &[&str]) -> Vec<Found> {
    let output = doctor(db, &[&["--exit-code", "-o", "json"], arguments].concat());
    let value = output.json();
    let findings = value["findings"].as_array().expect("a list");
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let one = |finding: &serde_json::Value| Found {
        severity: text(&finding["severity"]).expect("a severity"),
        check: text(&finding["check"]).expect("a check"),
        object: text(&finding["object"]).expect("an object"),
        remedy: text(&finding["remedy"]),
    };
    let found: Vec<_> = findings.iter().map(one).collect();
    let problems = found.iter().filter(|found| found.severity != "notice").count();
    assert_eq!(value["problems"], problems);
    assert_eq!(output.code, Some(if problems > 0 { 3 } else { 0 }), "{output}");
    found.into_iter().filter(|found| !OF_THE_SERVER.contains(&found.check.as_str())).collect()
}

/// What is found, as `severity check object`.
#[track_caller]
fn found(db: &TestDatabase) -> Vec<String> {
    found_with(db, &[])
}

#[track_caller]
fn found_with(db: &TestDatabase, arguments: &[&str]) -> Vec<String> {
    let found = all(db, arguments);
    found.iter().map(|one| format!("{} {} {}", one.severity, one.check, one.object)).collect()
}

/// Does what the findings of a check name, as a person would paste it.
#[track_caller]
fn mend(db: &TestDatabase, check: &str, arguments: &[&str]) {
    let found = all(db, arguments);
    let wanted: Vec<_> = found.iter().filter(|found| found.check == check).collect();
    assert!(!wanted.is_empty(), "{check} was not found");
    for one in wanted {
        let remedy = one.remedy.as_ref().expect("a remedy");
        match remedy.strip_prefix("pupctl ") {
            Some(words) => db.pupctl(words.split(' ').chain(["--yes"])).success(),
            None => db.psql(["-c", remedy]).success(),
        };
    }
}

fn doctor(db: &TestDatabase, arguments: &[&str]) -> Output {
    db.pupctl(["doctor"].iter().chain(arguments))
}
