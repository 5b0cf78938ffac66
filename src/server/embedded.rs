//! One private cluster per project: made at the first start, reachable only through a socket in
//! a folder of mode 0700, and running until it is stopped, whatever becomes of its starter.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::cluster;
use super::find::Programs;
use super::place::{self, PORT, Place};
use super::process::{self, PidFile};
use crate::error::Kind;
use crate::{Error, Result, failpoint};

/// How long a server may take to accept sessions: recovery after a crash reads the whole log.
const START_SECONDS_MAX: u64 = 300;

/// How long a server may take to stop: it writes a last checkpoint.
const STOP_SECONDS_MAX: u64 = 120;

/// How long processes that outlived a killed postmaster may take to notice.
const ORPHANS_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often something that is awaited is looked at.
const POLL: Duration = Duration::from_millis(100);

/// The private server of one folder, usually `.pupctl` of a project.
#[derive(Debug, Clone)]
pub struct Embedded {
    folder: PathBuf,
    settings: Vec<(String, String)>,
    programs: Option<Programs>,
}

/// A server that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The process.
    pub pid: u32,
    /// The version of PostgreSQL.
    pub version: String,
    /// Where clients connect to.
    pub url: String,
    /// The folder of data, log and socket.
    pub folder: PathBuf,
}

/// What [`Embedded::start`] found or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Whether this call started the server; otherwise it ran already.
    pub started: bool,
    /// The server.
    pub server: Server,
}

/// What there is of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// No cluster was made yet.
    Absent,
    /// There is a cluster, and no server runs on it.
    Stopped,
    /// The server runs.
    Running(Server),
}

impl Embedded {
    /// The server whose cluster belongs to `folder`. Nothing is made yet.
    pub fn in_folder(folder: impl AsRef<Path>) -> Self {
        let folder = place::absolute(folder.as_ref());
        Self { folder, settings: Vec::new(), programs: None }
    }

    /// Adds settings of the server, such as `("fsync", "off")`. They hold for the start that
    /// this value makes; a server that runs already keeps its own.
    #[must_use]
    pub fn with_settings<I, N, V>(mut self, settings: I) -> Self
    where
        I: IntoIterator<Item = (N, V)>,
        N: Into<String>,
        V: Into<String>,
    {
        self.settings.extend(settings.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Takes these programs instead of looking for some.
    #[must_use]
    pub fn with_programs(mut self, programs: Programs) -> Self {
        self.programs = Some(programs);
        self
    }

    /// Starts the server, and makes its cluster first where there is none. A server that runs
    /// already is left as it is.
    pub fn start(&self) -> Result<Running> {
        let _lock = place::lock(&self.folder)?;
        let place = Place::of(&self.folder);
        if process::alive(&place).is_some() {
            let found = wait_until_ready(&place)?;
            return Ok(Running { started: false, server: self.describe(&place, found.pid) });
        }
        let programs = self.programs(&place)?;
        place.prepare()?;
        cluster::make(&place, &programs, self.syncs())?;
        let found = self.launch(&place, &programs)?;
        failpoint::reach("embedded::after_start");
        Ok(Running { started: true, server: self.describe(&place, found.pid) })
    }

    /// Stops the server and says whether it ran. Sessions are ended, their work is rolled back.
    pub fn stop(&self) -> Result<bool> {
        if !self.folder.exists() {
            return Ok(false);
        }
        let _lock = place::lock(&self.folder)?;
        self.stop_at(&Place::of(&self.folder))
    }

    /// Stops the server and removes its cluster with all data. Cannot be undone.
    pub fn remove(&self) -> Result<()> {
        if !self.folder.exists() {
            return Ok(());
        }
        let _lock = place::lock(&self.folder)?;
        let place = Place::of(&self.folder);
        self.stop_at(&place)?;
        cluster::remove(&place)
    }

    /// What there is of the server at this moment.
    pub fn status(&self) -> Result<Status> {
        let place = Place::of(&self.folder);
        if let Some(found) = process::alive(&place) {
            return Ok(Status::Running(self.describe(&place, found.pid)));
        }
        match std::fs::metadata(place.data()) {
            Ok(_) => Ok(Status::Stopped),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Status::Absent),
            Err(error) => {
                let home = place.home.display();
                Err(Error::system(format!("cannot look into {home}"), error)
                    .hint("run pupctl as the owner of that folder"))
            }
        }
    }

    /// Where clients connect to, whether the server runs or not.
    #[must_use]
    pub fn url(&self) -> String {
        url(&Place::of(&self.folder))
    }

    fn describe(&self, place: &Place, pid: u32) -> Server {
        let major = cluster::major(place).ok().flatten();
        let programs = self.programs(place).ok();
        let version = programs.map(|programs| programs.version).or(major.map(|m| m.to_string()));
        let version = version.unwrap_or_else(|| "unknown".to_owned());
        Server { pid, version, url: url(place), folder: place.home.clone() }
    }

    /// The programs that fit the cluster: a server reads only data of its own major version.
    fn programs(&self, place: &Place) -> Result<Programs> {
        let Some(major) = cluster::major(place)? else {
            return self.programs.clone().map_or_else(Programs::find, Ok);
        };
        let said = |error: Error| {
            let data = place.data();
            let message = format!("{} was made by PostgreSQL {major}: {error}", data.display());
            let hint = error.hint_text().unwrap_or_default().to_owned();
            Error::refused(message).hint(hint)
        };
        match &self.programs {
            Some(given) if given.major == major => Ok(given.clone()),
            Some(given) => Err(said(
                Error::refused(format!(
                    "the programs in {} are of PostgreSQL {}",
                    given.bin.display(),
                    given.version,
                ))
                .hint(format!("name programs of PostgreSQL {major}")),
            )),
            None => Programs::find_major(major).map_err(said),
        }
    }

    /// Whether what is written must survive a failure of the machine; tests say `fsync=off`.
    fn syncs(&self) -> bool {
        !self.settings.iter().any(|(name, value)| name == "fsync" && value == "off")
    }

    fn launch(&self, place: &Place, programs: &Programs) -> Result<PidFile> {
        let deadline = Instant::now() + ORPHANS_WAIT_MAX;
        loop {
            process::clear_leftovers(place)?;
            let length = process::log_length(place);
            let output =
                process::run(place, programs, "pg_ctl", &self.start_arguments(place), true)?;
            if output.status.success() {
                return wait_until_ready(place);
            }
            // Its pg_ctl may have outlived a pupctl that was killed while starting.
            if process::alive(place).is_some() {
                return wait_until_ready(place);
            }
            let log = process::log_since(place, length);
            let orphans = log.iter().any(|line| line.contains("is still in use"));
            if !orphans || Instant::now() >= deadline {
                let folder = place.home.display();
                return Err(process::failed(
                    &format!("the server in {folder} did not start"),
                    &output,
                )
                .details(log)
                .hint(format!("the whole log is in {}", place.log().display())));
            }
            std::thread::sleep(POLL);
        }
    }

    fn start_arguments(&self, place: &Place) -> Vec<String> {
        // Relative to the data folder, in which the server works.
        let socket = if place.has_far_socket() {
            place.socket.display().to_string()
        } else {
            "../socket".to_owned()
        };
        let fixed = [
            ("listen_addresses", ""),
            ("unix_socket_directories", &socket),
            ("unix_socket_permissions", "0700"),
            ("port", &PORT.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        // The fixed ones last: the last of a name counts, and none may open the server.
        let all = self.settings.iter().chain(&fixed);
        let options: Vec<String> = all
            .map(|(name, value)| format!("-c {}", quoted_for_shell(&format!("{name}={value}"))))
            .collect();
        let timeout = START_SECONDS_MAX.to_string();
        let options = options.join(" ");
        ["start", "-D", "data", "-l", "server.log", "-w", "-s", "-t", &timeout, "-o", &options]
            .map(str::to_owned)
            .into()
    }

    fn stop_at(&self, place: &Place) -> Result<bool> {
        if process::alive(place).is_none() {
            return Ok(false);
        }
        let programs = self.programs(place)?;
        let timeout = STOP_SECONDS_MAX.to_string();
        let arguments = ["stop", "-D", "data", "-m", "fast", "-w", "-s", "-t", &timeout];
        let arguments = arguments.map(str::to_owned);
        let output = process::run(place, &programs, "pg_ctl", &arguments, true)?;
        if !output.status.success() && process::alive(place).is_some() {
            let folder = place.home.display();
            return Err(process::failed(&format!("the server in {folder} did not stop"), &output)
                .hint(format!("see {}", place.log().display())));
        }
        failpoint::reach("embedded::after_stop");
        Ok(true)
    }
}

fn wait_until_ready(place: &Place) -> Result<PidFile> {
    let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    loop {
        let found = process::alive(place).ok_or_else(|| {
            Error::new(Kind::System, format!("the server in {} ended", place.home.display()))
                .details(process::log_since(place, 0))
                .hint("start it again")
        })?;
        if found.ready {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            let home = place.home.display();
            let message = format!("the server in {home} accepts no sessions yet");
            return Err(Error::new(Kind::System, message).details(process::log_since(place, 0)));
        }
        std::thread::sleep(POLL);
    }
}

fn url(place: &Place) -> String {
    let host = percent_encoded(&place.socket);
    format!("postgresql:///{}?host={host}&port={PORT}&user={}", cluster::DATABASE, cluster::USER)
}

/// Every byte but the unreserved ones of RFC 3986 as `%XX`.
fn percent_encoded(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;

    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// One word of a POSIX shell, to which `pg_ctl` hands the options as they are.
fn quoted_for_shell(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_the_folder_of_the_socket() {
        assert_eq!(percent_encoded(Path::new("/a b/ü&c")), "%2Fa%20b%2F%C3%BC%26c");
        assert_eq!(percent_encoded(Path::new("a-1._~")), "a-1._~");
    }

    #[test]
    fn quotes_for_the_shell() {
        assert_eq!(quoted_for_shell("a=it's $HOME"), "'a=it'\\''s $HOME'");
    }

    #[test]
    fn no_setting_opens_the_server() {
        let place = tempfile::tempdir().expect("a folder");
        let embedded = Embedded::in_folder(place.path())
            .with_settings([("listen_addresses", "*"), ("fsync", "off")]);
        let arguments = embedded.start_arguments(&Place::of(&embedded.folder));
        let options = arguments.last().expect("the options");
        let open = options.find("listen_addresses=*").expect("the setting");
        let closed = options.find("'listen_addresses='").expect("the fixed one");
        assert!(open < closed, "{options}");
        assert!(!embedded.syncs());
    }

    #[test]
    fn an_unused_folder_is_absent_and_stays_so() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join(".pupctl");
        let embedded = Embedded::in_folder(&folder);
        assert_eq!(embedded.status().expect("a status"), Status::Absent);
        assert!(!embedded.stop().expect("nothing to stop"));
        assert!(!folder.exists());
    }
}
