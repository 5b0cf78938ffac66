//! `partitions ensure` and `partitions check` on stores that time, people and other tools have
//! changed.

#[path = "../support/mod.rs"]
mod support;

mod budget;
mod check;
mod ensure;
mod inherit;
mod off_grid;

use support::{Output, TestDatabase};

/// A store by month with the current month alone.
fn by_month() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "0"]).success();
    db
}

/// The ending of a month's partition, this far from the current month.
fn suffix(db: &TestDatabase, ahead: i32) -> String {
    db.month(ahead).replace('-', "_")
}

/// A bound, this far from the current month.
fn start(db: &TestDatabase, ahead: i32) -> String {
    format!("'{}-01 00:00:00+00'", db.month(ahead))
}

/// What `partitions check` finds, as `check object`, in order; the exit code says whether.
#[track_caller]
fn findings(db: &TestDatabase) -> Vec<String> {
    let list = found(db);
    list.iter().map(|(check, object, _)| format!("{check} {object}")).collect()
}

/// Check, object and remedy of what `partitions check` finds.
#[track_caller]
fn found(db: &TestDatabase) -> Vec<(String, String, Option<String>)> {
    let output = db.pupctl(["partitions", "check", "--exit-code", "-o", "json"]);
    let value = output.json();
    let findings = value["findings"].as_array().expect("a list");
    let is_sound = findings.iter().all(|finding| finding["severity"] == "notice");
    assert_eq!(output.code, Some(if is_sound { 0 } else { 3 }), "{output}");
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let one = |finding: &serde_json::Value| {
        let field = |name: &str| text(&finding[name]).expect("a text");
        (field("check"), field("object"), text(&finding["remedy"]))
    };
    findings.iter().map(one).collect()
}

#[track_caller]
fn ensure(db: &TestDatabase, arguments: &[&str]) -> Output {
    db.pupctl(["partitions", "ensure"].iter().chain(arguments))
}
