//! The servers of the tests: one that all share, and private ones for other settings.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use pupctl::server::{Embedded, Programs};
use tempfile::TempDir;

/// What makes the servers of tests quick and wide enough. Nothing in them is worth keeping.
/// All else stays as PostgreSQL has it.
pub const SETTINGS: [(&str, &str); 3] =
    [("fsync", "off"), ("max_connections", "200"), ("max_locks_per_transaction", "128")];

/// Free memory that servers of tests may lie in; they need a fraction of it.
const ROOM: u64 = 6 << 30;

/// Where the shared cluster of one major version lies: one for each folder of builds and user. It
/// is left running from one run to the next; `scripts/test` removes the one that it used.
pub fn folder(major: u32) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target");
    // CARGO_TARGET_TMPDIR is set for tests alone; the folder beside it for examples too.
    let target = option_env!("CARGO_TARGET_TMPDIR").map_or(target, |tmp| {
        PathBuf::from(tmp).parent().expect("it lies in the target folder").to_owned()
    });
    let Some(memory) = in_memory() else {
        return target.join("test-server").join(major.to_string());
    };
    let mut hasher = DefaultHasher::new();
    (target, rustix::process::geteuid().as_raw()).hash(&mut hasher);
    memory.join(format!("pupctl-test-{:x}", hasher.finish())).join(major.to_string())
}

/// Files in memory, where there is room. Every test has a database of its own, and to make and
/// remove so many files on a disk costs as much as all that the tests do with them.
fn in_memory() -> Option<&'static Path> {
    let folder = Path::new("/dev/shm");
    let found = rustix::fs::statvfs(folder).ok()?;
    (found.f_bavail.saturating_mul(found.f_frsize) >= ROOM).then_some(folder)
}

/// A running server.
#[derive(Debug)]
pub struct TestServer {
    url: String,
    private: Option<(Embedded, TempDir)>,
}

impl TestServer {
    /// The server for tests that need no settings of their own: that of `PUPCTL_TEST_URL`, else
    /// an embedded one, started by whichever test comes first.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<TestServer> = OnceLock::new();
        SHARED.get_or_init(|| {
            let url = std::env::var("PUPCTL_TEST_URL").ok().filter(|url| !url.is_empty());
            Self { url: url.unwrap_or_else(start_shared), private: None }
        })
    }

    /// A server of its own with further settings, stopped and removed when it is dropped.
    pub fn private(settings: &[(&str, &str)]) -> Self {
        Self::private_on(&Programs::find().expect("server programs"), settings)
    }

    /// A private server of the given version.
    pub fn private_on(programs: &Programs, settings: &[(&str, &str)]) -> Self {
        let folder = open_folder();
        let embedded = Embedded::in_folder(folder.path().join(".pupctl"))
            .with_programs(programs.clone())
            .with_settings(SETTINGS)
            .with_settings(settings.iter().copied());
        let url = embedded.start().expect("a private server").server.url;
        Self { url, private: Some((embedded, folder)) }
    }

    /// Where clients connect to, in a database that no test uses.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The embedded server behind a private one, to stop and start it.
    pub fn embedded(&self) -> &Embedded {
        &self.private.as_ref().expect("a private server").0
    }

    /// The address of another database of this server.
    pub fn url_of(&self, database: &str) -> String {
        with_database(&self.url, database)
    }

    /// A session in the database that no test uses.
    pub fn client(&self) -> postgres::Client {
        postgres::Client::connect(&self.url, postgres::NoTls).expect("a session")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let Some((embedded, _)) = &self.private else { return };
        let removed = embedded.remove();
        // A second panic while a test fails would hide the first.
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

/// A temporary folder that the user of the server can enter.
pub fn open_folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o755);
    let within = in_memory().map_or_else(std::env::temp_dir, Path::to_owned);
    let mut builder = tempfile::Builder::new();
    builder.prefix("pupctl").permissions(open).tempdir_in(within).expect("a folder")
}

fn start_shared() -> String {
    let programs = Programs::find().expect("server programs");
    let embedded =
        Embedded::in_folder(folder(programs.major)).with_programs(programs).with_settings(SETTINGS);
    embedded.start().expect("the shared server").server.url
}

/// Replaces the name of the database, which is all between the authority and the parameters.
pub(super) fn with_database(url: &str, database: &str) -> String {
    let (address, parameters) = url.split_once('?').unwrap_or((url, ""));
    let start = address.find("://").expect("an address with a scheme") + 3;
    let authority = address[start..].find('/').map_or(address, |slash| &address[..start + slash]);
    let mark = if parameters.is_empty() { "" } else { "?" };
    format!("{authority}/{database}{mark}{parameters}")
}
