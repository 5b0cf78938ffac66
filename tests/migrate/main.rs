//! `schema migrate`, `plan`, `status --dir` and `baseline`.

#[path = "../support/mod.rs"]
mod support;

mod alone;
mod apply;
mod baseline;
mod differences;
mod failures;
mod folder;
mod look;

use support::{Output, TestDatabase};

/// Writes a migration.
#[track_caller]
fn write(db: &TestDatabase, name: &str, text: &str) {
    let folder = db.folder().join("migrations");
    std::fs::create_dir_all(&folder).expect("the folder");
    std::fs::write(folder.join(name), text).expect("the file");
}

#[track_caller]
fn remove(db: &TestDatabase, name: &str) {
    std::fs::remove_file(db.folder().join("migrations").join(name)).expect("the file");
}

#[track_caller]
fn migrate(db: &TestDatabase) -> Output {
    db.pupctl(["schema", "migrate"])
}

/// What is recorded, as `version name`.
fn recorded(db: &TestDatabase) -> Vec<String> {
    db.texts("SELECT version || ' ' || name FROM public.pupctl_schema_history ORDER BY version")
}

fn is_there(db: &TestDatabase, table: &str) -> bool {
    db.one(&format!("SELECT to_regclass('{table}') IS NOT NULL"))
}
