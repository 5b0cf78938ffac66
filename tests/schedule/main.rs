//! `pupctl schedule`: when jobs are due, the daemon, and the files of other schedulers.

#[path = "../support/mod.rs"]
mod support;

mod agenda;
mod bad_input;
mod clocks;
mod daemon;
mod known;
mod meaning;
mod print;
mod script;
mod tell;
mod zones;

use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use support::{Pupctl, TestDatabase};

/// Jobs that are told in pupctl.toml, without waiting.
pub(crate) const ENSURE: &str = r#"
[schedule]
jitter = "0s"
retry = "1s"

[[schedule.jobs]]
name = "ensure"
command = "partitions ensure"
cron = "17 3 * * *"
"#;

/// A store by month that lacks its months, and the configuration of its jobs.
pub(crate) fn store(config: &str) -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month"]).success();
    let this = db.month(0).replace('-', "_");
    for leaf in db.leaves("public.events").iter().filter(|leaf| !leaf.ends_with(&this)) {
        db.execute(&format!("DROP TABLE {leaf}"));
    }
    configure(&db, config);
    db
}

/// Writes pupctl.toml.
pub(crate) fn configure(db: &TestDatabase, config: &str) {
    fs::write(db.folder().join("pupctl.toml"), config).expect("pupctl.toml");
}

/// The state file, which says that these jobs had their runs up to some days ago.
pub(crate) fn missed(db: &TestDatabase, jobs: &[&str], days: i64) {
    let covered = Utc::now() - chrono::TimeDelta::days(days);
    let jobs: serde_json::Map<_, _> =
        jobs.iter().map(|job| ((*job).to_owned(), json!({"covered": covered}))).collect();
    let state = json!({"version": 1, "jobs": jobs});
    fs::write(db.folder().join("state.json"), state.to_string()).expect("the state");
}

/// Up to when a job had its runs.
pub(crate) fn covered(db: &TestDatabase, job: &str) -> DateTime<Utc> {
    let text = fs::read_to_string(db.folder().join("state.json")).expect("the state");
    let state: Value = serde_json::from_str(&text).expect("JSON");
    let at = state["jobs"][job]["covered"].as_str().expect("the job");
    at.parse().expect("a time")
}

/// The daemon, which notes what it does.
pub(crate) fn run(db: &TestDatabase) -> Pupctl {
    db.command(["schedule", "run", "--state", "state.json", "--health-file", "health.json"])
}

/// The health file, once it is there.
pub(crate) fn health(db: &TestDatabase) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(health_file(db)).ok()?).ok()
}

pub(crate) fn health_file(db: &TestDatabase) -> PathBuf {
    db.folder().join("health.json")
}

/// What the health file says of a job.
pub(crate) fn job(db: &TestDatabase, name: &str) -> Value {
    let health = health(db).unwrap_or_default();
    let jobs = health["jobs"].as_array().cloned().unwrap_or_default();
    jobs.into_iter().find(|job| job["name"] == name).unwrap_or_default()
}

/// Whether the daemon waits for the next job.
pub(crate) fn waits(db: &TestDatabase) -> bool {
    health(db).is_some_and(|health| health["state"] == "waiting")
}

/// Whether the store has its months.
pub(crate) fn has_months(db: &TestDatabase) -> bool {
    let next = db.month(1).replace('-', "_");
    db.leaves("public.events").iter().any(|leaf| leaf.ends_with(&next))
}

/// An instant.
pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}
