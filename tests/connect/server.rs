//! A temporary PostgreSQL server. It runs as an unprivileged user even when the tests run as
//! root, and it ends with the test, also when the test is killed.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use postgres::{Client, NoTls};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A folder that belongs to the user of the servers.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    owner: Option<(String, u32)>,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("pupctl-connect-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let folder = Self { path, owner: unprivileged_user() };
        folder.give_away(&folder.path, 0o755);
        folder
    }

    /// Writes a file that only the user of the servers may read.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, text).unwrap();
        self.give_away(&path, 0o600);
        path
    }

    fn give_away(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        if let Some((_, id)) = &self.owner {
            chown(path, Some(*id), Some(*id)).unwrap();
        }
    }

    /// A command that runs as the user of the servers.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        let mut command = match &self.owner {
            None => Command::new(program),
            Some((_, id)) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={id}"), format!("--regid={id}")]);
                command.arg("--clear-groups").arg(program);
                command
            }
        };
        command.current_dir(&self.path).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind harms nobody.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Who runs the servers when the tests run as root; none otherwise.
fn unprivileged_user() -> Option<(String, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"].iter().find_map(|name| Some(((*name).to_owned(), id(&["-u", name])?)))
}

/// Runs a shell script when the test ends or is killed: the script waits for the end of its input.
pub(crate) struct Afterwards(Child);

impl Afterwards {
    /// `script` sees its arguments as `$1` and so on.
    pub(crate) fn run(mut command: Command, script: &str, arguments: &[&Path]) -> Self {
        let script = script.replace("WAIT", "read -r line");
        command.args(["-c", &script, "sh"]).args(arguments).stdin(Stdio::piped());
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Afterwards {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A running server. The fields are dropped in order: it stops before its folder goes.
pub(crate) struct Server {
    _afterwards: Afterwards,
    pub(crate) folder: Folder,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a server with these additions to `postgresql.conf` and this `pg_hba.conf`.
    pub(crate) fn start(folder: Folder, settings: &str, rules: &str) -> Self {
        let data = folder.path.join("data");
        let initdb = folder
            .command(program("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"])
            .args(["--locale=C", "--pgdata"])
            .arg(&data)
            .status()
            .unwrap();
        assert!(initdb.success(), "initdb failed");
        let port = free_port();
        let base = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\n\
             fsync = off\nmax_connections = 40\nshared_buffers = 16MB\n{settings}\n",
            folder.path.display()
        );
        fs::write(data.join("postgresql.conf"), base).unwrap();
        fs::write(data.join("pg_hba.conf"), format!("local all all trust\n{rules}\n")).unwrap();
        let script = "WAIT; \"$1\" -D \"$2\" -m immediate -w stop";
        let afterwards =
            Afterwards::run(folder.command("sh"), script, &[&program("pg_ctl"), &data]);
        let server = Self { _afterwards: afterwards, folder, port };
        server.control("start");
        server
    }

    /// `pg_ctl start` or `restart`, which wait until it is done.
    pub(crate) fn control(&self, order: &str) {
        let log = self.folder.path.join("log");
        let status = self
            .folder
            .command(program("pg_ctl"))
            .args([order, "-w", "-s", "-m", "fast", "-D"])
            .arg(self.folder.path.join("data"))
            .arg("-l")
            .arg(&log)
            .status()
            .unwrap();
        let told = fs::read_to_string(&log).unwrap_or_default();
        assert!(status.success(), "pg_ctl {order} failed: {told}");
    }

    /// Runs statements as the superuser, through the socket.
    pub(crate) fn run(&self, statements: &[&str]) {
        let mut client = self.superuser();
        for statement in statements {
            client.batch_execute(statement).unwrap();
        }
    }

    pub(crate) fn superuser(&self) -> Client {
        postgres::Config::new()
            .host_path(&self.folder.path)
            .port(self.port)
            .user("postgres")
            .connect(NoTls)
            .unwrap()
    }

    pub(crate) fn port_text(&self) -> String {
        self.port.to_string()
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A program of PostgreSQL: from `PUPCTL_PG_BIN`, `pg_config --bindir` or Debian's folders.
fn program(name: &str) -> PathBuf {
    let configured = std::env::var_os("PUPCTL_PG_BIN").map(PathBuf::from);
    let told = Command::new("pg_config").arg("--bindir").output().ok();
    let told = told.map(|output| PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    configured
        .into_iter()
        .chain(told)
        .chain(debian.into_iter().rev())
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not found: set PUPCTL_PG_BIN to its folder"))
}
