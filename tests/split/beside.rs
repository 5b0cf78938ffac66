//! The other commands on a store with a partition that holds all months before one.

use crate::support::TestDatabase;
use crate::{fill, store};

fn filled() -> TestDatabase {
    let db = store("month", &["--event-ids", "--immutable"], "events", 1);
    for ahead in [-3, -1, 0] {
        fill(&db, "A", &db.month(ahead), 5);
    }
    db
}

#[test]
fn it_is_a_notice_and_no_problem() {
    let db = filled();
    let check = db.pupctl(["partitions", "check", "--exit-code", "-o", "json"]).success().json();
    let findings = check["findings"].as_array().expect("a list");
    let [only] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(only["check"], "history");
    assert_eq!(only["severity"], "notice");
    assert_eq!(only["remedy"], "pupctl partitions split heap");
    let told = db.pupctl(["partitions", "check"]).success();
    assert!(told.stdout.contains("notice [history] public.heap"), "{told}");
    db.pupctl(["schema", "verify"]).success();
    let ensured = db.pupctl(["partitions", "ensure", "--from", &db.month(-6)]).success();
    assert!(ensured.stderr.contains("Nothing to do"), "{ensured}");
}

#[test]
fn it_is_listed_and_explained() {
    let db = filled();
    let holds = format!("before {}", db.month(1));
    let list = db.pupctl(["partitions", "list", "-o", "json"]).success().json();
    let bounds: Vec<_> = list["partitions"].as_array().expect("a list").iter().collect();
    assert!(bounds.iter().any(|row| row["bound"] == holds.as_str()), "{list}");
    let month = db.month(-1);
    let told = db.pupctl(["partitions", "explain", "--from", &month, "--to", &month]).success();
    assert!(told.stdout.contains("heap"), "{told}");
    db.pupctl(["events", "export", "all.jsonl"]).success();
}

#[test]
fn only_months_are_closed_and_archived() {
    let db = filled();
    let holds = format!("before {}", db.month(1));
    for what in [&["partitions", "close"][..], &["archive", "--yes"]] {
        for name in ["heap", &holds] {
            let told = db.pupctl(what.iter().chain(&[name])).failure(1);
            assert!(told.stderr.contains("heap holds more than one month"), "{told}");
            assert!(told.stderr.contains("pupctl partitions split heap"), "{told}");
        }
    }
    let told = db.pupctl(["partitions", "close", "--all-past", "--yes"]).success();
    assert!(told.stderr.contains("Nothing to do"), "{told}");
}

#[test]
fn it_leaves_and_comes_back() {
    let db = filled();
    let before = db.tree("public.events");
    let holds = format!("before {}", db.month(1));
    db.pupctl(["partitions", "detach", &holds, "--yes"]).success();
    assert!(!db.tree("public.events").contains("heap"));
    db.pupctl(["partitions", "attach", "heap", "--yes"]).success();
    assert_eq!(db.tree("public.events"), before);
    db.pupctl(["schema", "verify"]).success();
}
