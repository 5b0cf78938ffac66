//! A server that replays another one.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use pupctl::server::{Embedded, Programs};
use tempfile::TempDir;

use super::command::Output;
use super::server::{SETTINGS, TestServer, open_folder};

/// A standby of a server: its data copied while it is stopped, then fed by it. `pg_basebackup`
/// would do the same, but fetched servers come without it.
#[derive(Debug)]
pub struct Standby {
    embedded: Embedded,
    _folder: TempDir,
}

impl Standby {
    /// Makes one, for which the primary is stopped a moment.
    pub fn of(primary: &TestServer, programs: &Programs) -> Self {
        let running = primary.embedded().start().expect("it runs").server;
        let folder = open_folder();
        let copy = folder.path().join(".pupctl");
        std::fs::create_dir(&copy).expect("a folder");
        primary.embedded().stop().expect("it stops");
        copy_all(&running.folder, &copy.join("postgresql"));
        primary.embedded().start().expect("it starts again");

        let data = copy.join("postgresql/data");
        copy_all(&data.join("PG_VERSION"), &data.join("standby.signal"));
        let settings = OpenOptions::new().append(true).open(data.join("postgresql.auto.conf"));
        let socket = running.folder.join("socket");
        let from = format!("primary_conninfo = 'host={} user=postgres'", socket.display());
        writeln!(settings.expect("the settings"), "{from}").expect("written");
        let embedded =
            Embedded::in_folder(copy).with_programs(programs.clone()).with_settings(SETTINGS);
        embedded.start().expect("a standby");
        Self { embedded, _folder: folder }
    }

    /// The address of a database of it.
    pub fn url_of(&self, database: &str) -> String {
        super::server::with_database(&self.embedded.url(), database)
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let removed = self.embedded.remove();
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

/// Copies with owners and rights.
fn copy_all(from: &Path, to: &Path) {
    Output::of(Command::new("cp").arg("-a").args([from, to])).success();
}
