//! Projections in SQL: their files, trials of them, and what they make of real events.

#[path = "../support/mod.rs"]
mod support;

mod examples;
mod new;
mod real;
mod reference;
mod trial;

use std::path::{Path, PathBuf};

use support::TestDatabase;

/// A file of the repository.
pub(crate) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Writes a file into the folder of a database.
pub(crate) fn write(db: &TestDatabase, name: &str, text: &str) {
    let path = db.folder().join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

/// What a file of that folder says.
pub(crate) fn read(db: &TestDatabase, name: &str) -> String {
    std::fs::read_to_string(db.folder().join(name)).expect("a file")
}
