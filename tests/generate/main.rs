//! `schema generate`: files for several tools, the same every time, that make a working store
//! without pupctl.

#[path = "../support/mod.rs"]
mod support;

mod files;
mod store;

use std::collections::BTreeMap;
use std::path::Path;

use support::{Output, Pupctl};

/// Runs it where no server can be reached, with the folder as its working folder.
fn generate(folder: &Path, arguments: &[&str]) -> Output {
    let command = Pupctl::new(folder).args(["schema", "generate"]).args(arguments);
    command.env("PUPCTL_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none").run()
}

/// The files of a folder by their names.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).expect("the folder");
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().expect("a name");
        (name, std::fs::read_to_string(entry.path()).expect("the file"))
    };
    entries.map(|entry| file(entry.expect("an entry"))).collect()
}
