//! `schema verify` finds what was changed by hand, and prints the SQL that puts it right.

#[path = "../support/mod.rs"]
mod support;

mod kinds;
mod reading;

use support::{Output, TestDatabase};

/// A store by context and month, with the branch `events_a` and the leaves of two months.
fn store() -> TestDatabase {
    of_layout("context,month")
}

fn of_layout(layout: &str) -> TestDatabase {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", layout, "--months", "1"];
    let more: &[&str] = match layout {
        "context,month" | "context" => &["--contexts", "A"],
        "context,hash" => &["--contexts", "A", "--hash-partitions", "2"],
        "hash" | "hash,month" => &["--hash-partitions", "2"],
        _ => &[],
    };
    db.pupctl(init.iter().chain(more)).success();
    db
}

fn verify(db: &TestDatabase, arguments: &[&str]) -> Output {
    db.pupctl(["schema", "verify"].iter().chain(arguments))
}

/// What it finds, as `severity check object`, sorted; the exit code says whether.
#[track_caller]
fn found(db: &TestDatabase) -> Vec<String> {
    let output = verify(db, &["--exit-code", "-o", "json"]);
    let json = output.json();
    let findings = json["findings"].as_array().unwrap_or_else(|| panic!("{output}"));
    assert_eq!(output.code, Some(if findings.is_empty() { 0 } else { 3 }), "{output}");
    let one = |finding: &serde_json::Value| {
        let field = |name: &str| finding[name].as_str().expect("a text").to_owned();
        format!("{} {} {}", field("severity"), field("check"), field("object"))
    };
    let mut lines: Vec<_> = findings.iter().map(one).collect();
    lines.sort();
    lines
}

/// Runs what `--sql` prints, as a person would.
#[track_caller]
fn mend(db: &TestDatabase) -> String {
    let sql = verify(db, &["--sql"]).success().stdout;
    std::fs::write(db.folder().join("mend.sql"), &sql).expect("a script");
    let _ = db.psql(["-f", "mend.sql"]).success();
    sql
}

const NOTHING: [&str; 0] = [];
