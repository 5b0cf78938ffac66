//! Metrics for Prometheus: on standard output, in a file, over HTTP.

// Counts are whole numbers, which floats hold as they are.
#![allow(clippy::float_cmp)]

#[path = "../support/mod.rs"]
mod support;

mod listen;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Append, Output, Pupctl, TestDatabase};

const HOSTILE: &str = "O'Neill \"x\" \\ <b>";

fn store() -> TestDatabase {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "2", "--contexts"];
    db.pupctl(init.iter().chain(&["Billing"])).success();
    db.pupctl(["contexts", "add", HOSTILE]).success();
    db.pupctl(["partitions", "ensure", "--from", &db.month(-3)]).success();
    let mut client = db.client();
    for (id, month) in [("1", -3), ("2", -2), ("3", 0)] {
        let created_at = format!("{}-02T00:00:00Z", db.month(month));
        let append =
            Append { context: "Billing", id, head: None, events: 5, created_at: &created_at };
        append.run(&mut client).expect("an append");
    }
    db.execute("ANALYZE");
    db
}

/// The samples by name and labels; fails unless every one has its words and its type before it.
#[track_caller]
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeSet::new());
    let mut found = BTreeMap::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(helped.insert(rest.split(' ').next().expect("a name")), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(typed.insert(rest.split(' ').next().expect("a name")), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            let family = name.split('{').next().expect("a name");
            assert!(helped.contains(family) && typed.contains(family), "{line}");
            let value = value.parse().expect("a number");
            assert!(found.insert(name.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    found
}

/// Debian's promtool, or none: scripts/setup installs it where it can.
fn promtool() -> Option<&'static str> {
    let there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    ["promtool"].into_iter().find(there)
}

#[expect(clippy::print_stderr, reason = "a test that cannot run says so")]
fn without_promtool() {
    eprintln!("skipped: there is no promtool; run scripts/setup");
}

#[track_caller]
fn check(text: &str) {
    let Some(promtool) = promtool() else { return without_promtool() };
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("its input");
    let told = child.wait_with_output().expect("its end");
    let words = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success() && words.is_empty(), "{words}");
}

#[test]
fn the_numbers_are_those_of_partitions_list_and_promtool_likes_them() {
    let db = store();
    let before = support::fingerprint(&mut db.client());
    let text = db.pupctl(["metrics"]).success().stdout;
    assert_eq!(support::fingerprint(&mut db.client()), before, "it changes nothing");
    check(&text);
    let found = samples(&text);
    assert_eq!(found["pupctl_up"], 1.0);
    let sum = |prefix: &str| -> f64 {
        found.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, value)| value).sum()
    };
    let list = db.pupctl(["partitions", "list", "-o", "json"]).success().json();
    let total = |key: &str| list["totals"][0][key].as_f64().expect("a number");
    assert_eq!(sum("pupctl_partitions{"), total("leaves"));
    assert_eq!(sum("pupctl_partition_rows{"), total("rows"));
    assert_eq!(sum("pupctl_partition_bytes{"), total("table_bytes") + total("index_bytes"));
    assert_eq!(found["pupctl_partition_rows{context=\"Billing\",state=\"past\"}"], 10.0);
    assert_eq!(found["pupctl_events_position"], 15.0);
    assert_eq!(found["pupctl_events_settled_position"], 15.0);
    let ahead = "pupctl_months_ahead{context=\"O'Neill \\\"x\\\" \\\\ <b>\"}";
    assert_eq!(found[ahead], 2.0, "{text}");
    assert_eq!(found["pupctl_findings{severity=\"error\"}"], 0.0);
    assert!(found["pupctl_last_success_timestamp_seconds{job=\"partitions ensure\"}"] > 1.6e9);
    // What is asked for by itself is printed with --quiet too.
    assert!(db.pupctl(["metrics", "-q"]).success().stdout.starts_with("# HELP pupctl_up"));
    let json = db.pupctl(["metrics", "-o", "json"]).success().json();
    assert_eq!(json["metrics"][0]["name"], "pupctl_up");
}

#[test]
fn what_is_wrong_is_counted() {
    let db = store();
    let (this, next) = (db.month(0).replace('-', "_"), db.month(1).replace('-', "_"));
    db.execute(&format!(
        "DROP TABLE events_billing_{this}; DROP TABLE events_o_neill__x_____b__{next};
        INSERT INTO projection_checkpoints (projection_name, last_global_position) VALUES ('p', 5)"
    ));
    let found = samples(&db.pupctl(["metrics"]).success().stdout);
    assert_eq!(found["pupctl_months_ahead{context=\"Billing\"}"], -1.0);
    assert_eq!(found["pupctl_months_ahead{context=\"O'Neill \\\"x\\\" \\\\ <b>\"}"], 0.0);
    assert_eq!(found["pupctl_findings{severity=\"error\"}"], 1.0);
    assert_eq!(found["pupctl_check_findings{check=\"missing_month\",severity=\"error\"}"], 1.0);
    assert_eq!(found["pupctl_partitions{context=\"Billing\",state=\"missing\"}"], 1.0);
    assert_eq!(
        found["pupctl_projection_lag_events{projection=\"p\"}"], 5.0,
        "the dropped are gone"
    );
    assert_eq!(found["pupctl_projection_state{projection=\"p\",state=\"foreign\"}"], 1.0);
    // A transaction that is open keeps positions from being settled.
    let mut writer = db.client();
    let mut open = writer.transaction().expect("a transaction");
    open.batch_execute("LOCK TABLE events IN ROW EXCLUSIVE MODE").expect("a lock");
    let found = samples(&db.pupctl(["metrics"]).success().stdout);
    assert_eq!(found["pupctl_events_unsettled_transactions"], 1.0);
    assert!(!found.contains_key("pupctl_events_settled_position"));
}

#[test]
fn a_run_with_nothing_to_do_is_a_success_too() {
    let db = store();
    let at = |job: &str| {
        let found = samples(&db.pupctl(["metrics"]).success().stdout);
        let name = format!("pupctl_last_success_timestamp_seconds{{job=\"{job}\"}}");
        found.get(&name).copied()
    };
    let rows = || {
        let list = db.pupctl(["operations", "list", "-o", "json"]).success().json();
        list["operations"].as_array().expect("operations").len()
    };
    let (before, known) = (at("partitions ensure").expect("it made partitions"), rows());
    let run = db.pupctl(["partitions", "ensure"]).success();
    assert!(run.stderr.contains("Nothing to do"), "{run}");
    let again = at("partitions ensure").expect("its time");
    assert!(again > before, "{before} {again}");
    assert_eq!(rows(), known, "the journal does not grow");
    // A command that never had anything to do gets one row, whose time later runs move on.
    std::fs::write(db.folder().join("pupctl.toml"), "[archive]\nretention = \"50 years\"\n")
        .expect("a file");
    assert_eq!(at("archive --expired"), None);
    let expired = || db.pupctl(["archive", "--expired", "--to", "archives"]).success();
    let _ = expired();
    let first = at("archive --expired").expect("its time");
    assert_eq!(rows(), known + 1);
    let _ = expired();
    assert!(at("archive --expired").expect("its time") > first);
    assert_eq!((rows(), at("archive")), (known + 1, None));
    let id = known + 1;
    let shown = db.pupctl(["operations", "show", &id.to_string()]).success();
    assert!(shown.stdout.contains("nothing left to do"), "{shown}");
}

#[test]
fn months_that_the_fence_holds_back_are_counted_until_they_leave() {
    let db = store();
    let config = "[archive]\nretention = \"20 days\"\nallow_split_streams = true\n";
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a file");
    db.execute("INSERT INTO projection_checkpoints (projection_name, last_global_position) VALUES ('p', 5)");
    let expired = || {
        let run = ["archive", "--expired", "--patience", "0s", "--to", "archives"];
        db.pupctl(run).success()
    };
    let told = expired();
    let found = samples(&db.pupctl(["metrics"]).success().stdout);
    assert_eq!(found["pupctl_months_held_back"], 1.0, "{told}");
    let job = "pupctl_last_success_timestamp_seconds{job=\"archive --expired\"}";
    assert!(found[job] > 1.6e9);
    assert_eq!(found["pupctl_archives{state=\"published\"}"], 1.0);
    let held = db.pupctl(["report", "-o", "json"]).success().json();
    let leaf = format!("events_billing_{}", db.month(-2).replace('-', "_"));
    assert_eq!(held["held_back"][0]["leaf"], leaf);
    db.execute("UPDATE projection_checkpoints SET last_global_position = 15");
    let _ = expired();
    let found = samples(&db.pupctl(["metrics"]).success().stdout);
    assert_eq!(found["pupctl_months_held_back"], 0.0);
    assert_eq!(found["pupctl_archives{state=\"published\"}"], 2.0);
}

#[test]
fn a_file_is_whole_and_says_when_the_store_is_gone() {
    let db = store();
    let path = db.folder().join("pupctl.prom");
    let read = || std::fs::read_to_string(&path).expect("the file");
    let write = ["metrics", "--textfile", "pupctl.prom"];
    let quiet = db.command(write).args(["-q"]).run().success();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    assert_eq!(samples(&read())["pupctl_up"], 1.0);
    #[cfg(feature = "failpoints")]
    {
        std::fs::write(&path, "old\n").expect("a file");
        let _ = db.command(write).failpoints("file::before_rename=return").run().killed();
        assert_eq!(read(), "old\n");
        db.pupctl(write).success();
    }
    let gone = |command: Pupctl| {
        command.env("PUPCTL_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none").run().failure(1)
    };
    let told: Output = gone(Pupctl::new(db.folder()).args(write));
    assert!(told.stderr.contains("error: "), "{told}");
    let found = samples(&read());
    assert_eq!(found["pupctl_up"], 0.0);
    assert_eq!(found.len(), 3, "nothing else is known");
    assert_eq!(gone(Pupctl::new(db.folder()).args(["metrics"])).stdout, "");
    db.pupctl(["metrics", "--textfile", "pupctl.prom/x"]).failure(1);
    db.pupctl(["metrics", "--textfile", "/dev/null"]).failure(2);
    let told = db.pupctl(["metrics", "--textfile", "-"]).failure(2);
    assert!(told.stderr.contains("hint: leave it out"), "{told}");
    assert!(!db.folder().join("-").exists());
    db.pupctl(["metrics", "--interval", "1s"]).failure(2);
    db.pupctl(["metrics", "--listen", "--textfile", "x"]).failure(2);
}

#[test]
fn alert_rules_hold_and_know_the_metrics() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prometheus");
    let rules = std::fs::read_to_string(folder.join("alerts.yml")).expect("the rules");
    let db = store();
    db.execute("INSERT INTO projection_checkpoints (projection_name, last_global_position) VALUES ('p', 5)");
    let text = db.pupctl(["metrics"]).success().stdout;
    let known: BTreeSet<_> = text.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/how-to/monitor.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let words = |text: &str| -> BTreeSet<String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = text.split(|c: char| !is_name(c)).filter(|word| word.starts_with("pupctl_"));
        words.map(str::to_owned).collect()
    };
    for name in words(&rules) {
        // Nothing has failed in this store.
        let is_known = known.contains(name.as_str()) || name.contains("last_failure");
        assert!(is_known, "no metric {name}");
    }
    for name in known.iter().filter(|name| name.starts_with("pupctl_")) {
        assert!(page.contains(*name), "monitor.md does not explain {name}");
    }
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(page.contains(alert), "monitor.md does not explain {alert}");
    }
    let Some(promtool) = promtool() else { return without_promtool() };
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let mut command = Command::new(promtool);
        let _ = Output::of(command.args(arguments).current_dir(&folder)).success();
    }
}
