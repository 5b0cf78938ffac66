//! Import on real servers: every layout, what is wrong with files, and what happens meanwhile.

#[path = "../support/mod.rs"]
mod support;

mod columns;
mod event;
mod files;
mod layouts;
mod lines;
mod meanwhile;
mod payloads;
mod places;
mod real;
mod resume;
mod rights;
mod servers;
mod stores;
mod versions;

use std::io::Write as _;
use std::path::PathBuf;

use support::{Output, TestDatabase, fingerprint};

/// A database with a store.
fn store<const N: usize>(arguments: [&str; N]) -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "-q"].into_iter().chain(arguments)).success();
    db
}

/// Facts of the public history of git.
fn excerpt() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/git-history-500.ndjson")
}

/// The excerpt under a short name in the folder in which pupctl runs.
fn with_excerpt(db: &TestDatabase) -> &'static str {
    std::fs::copy(excerpt(), db.folder().join("history.ndjson")).expect("a copy");
    "history.ndjson"
}

/// Puts a file into the folder in which pupctl runs. Its name.
fn file(db: &TestDatabase, content: impl AsRef<[u8]>) -> &'static str {
    std::fs::write(db.folder().join("events.ndjson"), content).expect("a file");
    "events.ndjson"
}

/// Imports a file that must be refused as a whole.
#[track_caller]
fn refused(db: &TestDatabase, content: impl AsRef<[u8]>, more: &[&str]) -> String {
    let file = file(db, content);
    refused_file(db, &[&[file], more].concat(), 1)
}

/// Runs an import that must fail with this code, for real and dry, and leave the store as it was.
/// What it told, which is the same both times.
#[track_caller]
fn refused_file(db: &TestDatabase, arguments: &[&str], code: i32) -> String {
    let before = fingerprint(&mut db.client());
    let [real, dry] = [&[][..], &["--dry-run"]].map(|more| {
        let import = ["events", "import"].iter().chain(arguments).chain(more);
        told(&db.pupctl(import).failure(code))
    });
    let after = fingerprint(&mut db.client());
    assert!(before == after, "it changed something\n{real}\n{before}\n--- now\n{after}");
    assert_eq!(real, dry, "a dry run tells the same");
    real
}

/// The error, which stands alone: no result, no panic.
#[track_caller]
fn told(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "a failure has no result\n{output}");
    assert!(output.stderr.starts_with("error: "), "{output}");
    assert!(!output.stderr.contains("panicked"), "{output}");
    output.stderr.clone()
}

/// Says why a test has nothing to do.
fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
