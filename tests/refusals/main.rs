//! What pupctl refuses: it says what is wrong and what mends it, ends with the right code, and
//! changes nothing.

#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod configuration;
mod layouts;
mod roles;
mod servers;
mod tables;

use support::{Output, Pupctl, TestDatabase, fingerprint};

/// Runs a command that must fail with this code and leave the database as it was, and gives back
/// what it told.
#[track_caller]
fn refused<const N: usize>(db: &TestDatabase, arguments: [&str; N], code: i32) -> String {
    refused_as(db, db.command(arguments), code)
}

#[track_caller]
fn refused_as(db: &TestDatabase, command: Pupctl, code: i32) -> String {
    let before = fingerprint(&mut db.client());
    let output = command.run().failure(code);
    let after = fingerprint(&mut db.client());
    assert!(before == after, "it changed something\n{output}\n{before}\n--- now\n{after}");
    told(&output)
}

/// The error, which stands alone: no result, no panic.
#[track_caller]
fn told(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "a failure has no result\n{output}");
    assert!(output.stderr.starts_with("error: "), "{output}");
    assert!(!output.stderr.contains("panicked"), "{output}");
    output.stderr.clone()
}

/// A database with a store.
fn store<const N: usize>(arguments: [&str; N]) -> TestDatabase {
    let db = TestDatabase::new();
    let init = ["schema", "init", "-q"].into_iter().chain(arguments);
    db.pupctl(init).success();
    db
}
