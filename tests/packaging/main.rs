//! What packages bring along beside the program: completions, manual pages, units, the files that
//! a build from the package of the crate needs, and what pipelines of users run.

#[path = "../support/mod.rs"]
mod support;

mod ci;
mod completions;
mod man;
mod package;

use std::path::{Path, PathBuf};

use support::Pupctl;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program in a folder of its own, without a database.
fn pupctl(folder: &Path, arguments: &[&str]) -> Pupctl {
    Pupctl::new(folder).args(arguments)
}

/// A program of this machine, where it has it.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}
