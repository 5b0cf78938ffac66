//! A database of its own for every test, dropped at its end.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::command::{Output, Pupctl};
use super::server::TestServer;

/// A fresh, empty database.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    server: String,
    folder: TempDir,
}

impl TestDatabase {
    /// A database on the shared server.
    pub fn new() -> Self {
        Self::on(TestServer::shared())
    }

    /// A database on the given server.
    pub fn on(server: &TestServer) -> Self {
        let name = fresh_name();
        // template0, so that nobody's session in template1 is in the way.
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        server.client().batch_execute(&create).expect("a new database");
        let folder = tempfile::tempdir().expect("a folder");
        let url = server.url_of(&name);
        Self { name, url, server: server.url().to_owned(), folder }
    }

    /// A copy of a prepared database on the same server, with all that lies in its folder.
    pub fn copy_of(prepared: &Self) -> Self {
        let name = fresh_name();
        let create = format!("CREATE DATABASE {name} TEMPLATE {}", prepared.name);
        let mut client =
            postgres::Client::connect(&prepared.server, postgres::NoTls).expect("a session");
        client.batch_execute(&create).expect("a copy of the database");
        let folder = tempfile::tempdir().expect("a folder");
        let copied = Command::new("cp")
            .arg("-a")
            .args([prepared.folder().join("."), folder.path().to_owned()])
            .status();
        assert!(copied.expect("the program cp").success());
        let url = super::server::with_database(&prepared.server, &name);
        Self { name, url, server: prepared.server.clone(), folder }
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where clients connect to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The folder in which the binary runs, gone with the database.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A session of its own.
    pub fn client(&self) -> postgres::Client {
        postgres::Client::connect(&self.url, postgres::NoTls).expect("a session")
    }

    /// Runs statements in a session of their own.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        if let Err(error) = self.client().batch_execute(sql) {
            panic!("{error:?} in:\n{sql}");
        }
    }

    /// The first column of the first row.
    #[track_caller]
    pub fn one<T: for<'a> postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        match self.client().query_one(sql, &[]) {
            Ok(row) => row.get(0),
            Err(error) => panic!("{error:?} in:\n{sql}"),
        }
    }

    /// Runs the binary on this database and waits for its end.
    #[must_use = "call success() or failure(code)"]
    pub fn pupctl<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Output {
        self.command(arguments).run()
    }

    /// The binary on this database, for other settings than usual.
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Pupctl {
        Pupctl::new(self.folder.path()).args(arguments).env("PUPCTL_DATABASE_URL", &self.url)
    }

    /// Runs psql with the given arguments, as `["-f", "file.sql"]`, stopping at the first error.
    #[must_use = "call success() or failure(code)"]
    pub fn psql<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Output {
        let mut command = Command::new(psql().expect("psql; run scripts/setup"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url]);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        Output::of(&mut command)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Ok(mut client) = postgres::Client::connect(&self.server, postgres::NoTls) else {
            return;
        };
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropped = client.batch_execute(&drop);
        assert!(dropped.is_ok() || std::thread::panicking(), "{dropped:?}");
    }
}

fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_micros();
    // The clock, because numbers of processes come again and a killed test drops nothing.
    format!("test_{}_{number}_{now}", std::process::id())
}

/// The program psql, which fetched servers do not bring along.
pub fn psql() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).collect::<Vec<_>>().into_iter();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    on_path
        .chain(installed.map(|version| version.path().join("bin")))
        .map(|bin| bin.join("psql"))
        .find(|psql| psql.is_file())
}
