//! A clock that jumps: what was missed is made up once, and nothing is taken out by it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Background, TestDatabase, eventually};
use crate::{job, run, store, waits};

const JOBS: &str = r#"
[schedule]
jitter = "0s"
retry = "1s"

[archive]
retention = "6 months"

[[schedule.jobs]]
name = "ensure"
command = "partitions ensure"
cron = "17 3 * * *"

[[schedule.jobs]]
name = "archive"
command = "archive --expired --drop --max 3 --yes"
cron = "47 3 * * *"
"#;

const MONTH: i64 = 31 * 24 * 3600;

/// Sets the clock, as a whole: half a number is another time.
fn set(clock: &Path, seconds: i64) {
    let beside = clock.with_extension("new");
    fs::write(&beside, seconds.to_string()).expect("a clock");
    fs::rename(&beside, clock).expect("the clock");
}

/// A daemon with a clock of its own.
fn daemon(db: &TestDatabase) -> (Background, PathBuf) {
    let clock = db.folder().join("clock");
    set(&clock, 0);
    let daemon = run(db).env("PUPCTL_TEST_CLOCK", &clock).spawn();
    eventually("it waits", || waits(db));
    (daemon, clock)
}

fn starts(told: &str, job: &str) -> usize {
    told.lines().filter(|line| line.starts_with(&format!("{job}: pupctl "))).count()
}

#[test]
fn a_month_ahead_nothing_is_taken_out_and_the_rest_is_made_up_once() {
    let db = store(JOBS);
    let before = db.leaves("public.events");
    let (daemon, clock) = daemon(&db);
    set(&clock, MONTH);
    eventually("the job worked", || job(&db, "ensure")["succeeded"].is_string());
    eventually("the other was refused", || job(&db, "archive")["failures"].as_u64() >= Some(2));
    let refused = job(&db, "archive");
    let words = refused["message"].as_str().expect("words");
    assert!(words.contains("are more than 5 minutes apart"), "{words}");
    assert_eq!(refused["exit_code"], serde_json::Value::Null);
    // Back again: nothing of it comes twice.
    set(&clock, 0);
    eventually("the clock is right, and it worked", || job(&db, "archive")["failures"] == 0);
    daemon.signal("TERM");
    let output = daemon.wait().success();
    assert_eq!(starts(&output.stderr, "ensure"), 1, "{output}");
    assert!(output.stderr.contains("warning: the clock was set forth by 31 days"), "{output}");
    assert!(output.stderr.contains("warning: the clock was set back by 31 days"), "{output}");
    let after = db.leaves("public.events");
    assert!(before.iter().all(|leaf| after.contains(leaf)), "{after:?}");
}

#[test]
fn an_hour_back_nothing_runs_twice() {
    let db = store(JOBS);
    let (daemon, clock) = daemon(&db);
    set(&clock, 26 * 3600);
    eventually("the job worked", || job(&db, "ensure")["succeeded"].is_string());
    set(&clock, 22 * 3600);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    set(&clock, 26 * 3600);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    daemon.signal("TERM");
    let output = daemon.wait().success();
    assert_eq!(starts(&output.stderr, "ensure"), 1, "{output}");
}
