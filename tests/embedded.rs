//! The private server: started twice and together, killed, with foreign processes around, as
//! root and as an ordinary user.

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pupctl::server::{Embedded, Server, Status};
use support::{SETTINGS, TestDatabase, TestServer, eventually, open_folder};
use tempfile::TempDir;

/// Tells [`child`] the folder whose server it starts.
const CHILD_FOLDER: &str = "PUPCTL_TEST_CHILD_FOLDER";

/// A project whose server is removed at the end of the test.
struct Project {
    embedded: Embedded,
    folder: PathBuf,
    _root: TempDir,
}

impl Project {
    fn new() -> Self {
        Self::named("project")
    }

    fn named(name: &str) -> Self {
        let root = open_folder();
        let project = root.path().join(name);
        std::fs::create_dir_all(&project).expect("a folder");
        let folder = project.join(".pupctl");
        let embedded = Embedded::in_folder(&folder).with_settings(SETTINGS);
        Self { embedded, folder, _root: root }
    }

    fn start(&self) -> Server {
        let running = self.embedded.start().expect("a server");
        assert!(running.started, "it ran already");
        running.server
    }

    fn is_running(&self) -> bool {
        matches!(self.embedded.status().expect("a status"), Status::Running(_))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("postgresql/data")
    }

    /// Another process that starts the server: this test binary, running the test `child`.
    fn child(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "child", "--ignored", "--nocapture"]);
        command.env(CHILD_FOLDER, &self.folder).stdin(Stdio::null());
        command
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let removed = self.embedded.remove();
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

/// Not a test of its own: what other processes run.
#[test]
#[ignore = "run by other tests in a process of its own"]
fn child() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    #[cfg(feature = "failpoints")]
    pupctl::failpoint::setup();
    let embedded = Embedded::in_folder(folder).with_settings(SETTINGS);
    let running = embedded.start().expect("a server");
    assert_eq!(answer(&running.server.url), 1);
    if std::env::var_os("PUPCTL_TEST_CHILD_STOPS").is_some() {
        assert!(embedded.stop().expect("it stops"));
    }
}

fn answer(url: &str) -> i32 {
    let mut client = postgres::Client::connect(url, postgres::NoTls).expect("a session");
    client.query_one("SELECT 1", &[]).expect("an answer").get(0)
}

fn setting(url: &str, name: &str) -> String {
    let mut client = postgres::Client::connect(url, postgres::NoTls).expect("a session");
    client.query_one("SELECT current_setting($1)", &[&name]).expect("an answer").get(0)
}

fn kill(pid: u32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(status.expect("the program kill").success());
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

/// A process that has nothing to do with the server but runs as the same user.
fn bystander(owner: &Path) -> Child {
    let owner = std::fs::metadata(owner).expect("it exists");
    let mut command = Command::new("sleep");
    command.arg("600").current_dir("/").stdin(Stdio::null());
    if is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.spawn().expect("a process")
}

#[test]
fn starts_and_stops_as_often_as_one_likes() {
    let project = Project::new();
    let first = project.start();
    assert_eq!(answer(&first.url), 1);
    assert_eq!(first.url, project.embedded.url());
    let again = project.embedded.start().expect("it runs");
    assert!(!again.started);
    assert_eq!(again.server, first);
    assert_eq!(project.embedded.status().expect("a status"), Status::Running(first.clone()));

    assert!(project.embedded.stop().expect("it stops"));
    assert!(!project.embedded.stop().expect("nothing to stop"));
    assert_eq!(project.embedded.status().expect("a status"), Status::Stopped);
    let second = project.start();
    assert_ne!(second.pid, first.pid);

    project.embedded.remove().expect("it is removed");
    assert_eq!(project.embedded.status().expect("a status"), Status::Absent);
    project.embedded.remove().expect("nothing to remove");
}

#[test]
fn is_private_and_as_safe_as_a_server_should_be() {
    let project = Project::new();
    let embedded = Embedded::in_folder(&project.folder)
        .with_settings([("max_locks_per_transaction", "1024"), ("listen_addresses", "*")]);
    let server = embedded.start().expect("a server").server;
    let home = project.folder.join("postgresql");
    assert_eq!(server.folder, home.canonicalize().expect("it exists"));
    for folder in [home.clone(), home.join("data"), home.join("socket")] {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
    }
    assert_eq!(mode(&home.join("server.log")), 0o600);
    for (name, value) in [
        ("listen_addresses", ""),
        ("max_locks_per_transaction", "1024"),
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("server_encoding", "UTF8"),
        ("lc_messages", "C"),
    ] {
        assert_eq!(setting(&server.url, name), value, "{name}");
    }
    if is_root() {
        let process = std::fs::metadata(format!("/proc/{}", server.pid)).expect("it runs");
        assert_ne!(process.uid(), 0, "the server runs as root");
    }
    let ignored = std::fs::read_to_string(project.folder.join(".gitignore"));
    assert_eq!(ignored.expect("a file"), "*\n");
}

#[test]
fn threads_that_start_together_share_one_server() {
    let project = Project::new();
    let started: Vec<bool> = std::thread::scope(|scope| {
        let start = || project.embedded.start().expect("a server").started;
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a start")).collect()
    });
    assert_eq!(started.iter().filter(|started| **started).count(), 1);
}

#[test]
fn outlives_the_processes_that_start_it_together() {
    let project = Project::new();
    let spawn = |_| project.child().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let children: Vec<_> = (0..4).map(spawn).collect();
    for child in children {
        // Waiting for the output too: a server that held on to it would keep the pipe open.
        let output = child.expect("a process").wait_with_output().expect("its output");
        assert!(output.status.success(), "{output:?}");
    }
    assert_eq!(answer(&project.embedded.url()), 1);
}

#[test]
fn starts_again_after_the_server_was_killed() {
    let project = Project::new();
    let server = project.start();
    let mut client = postgres::Client::connect(&server.url, postgres::NoTls).expect("a session");
    client.batch_execute("CREATE TABLE kept AS SELECT 42 AS answer").expect("a table");
    for _ in 0..2 {
        let Status::Running(server) = project.embedded.status().expect("a status") else {
            panic!("it does not run");
        };
        kill(server.pid);
        eventually("the killed server is gone", || !project.is_running());
        project.start();
    }
    let mut client = postgres::Client::connect(&server.url, postgres::NoTls).expect("a session");
    let kept: i32 = client.query_one("SELECT answer FROM kept", &[]).expect("a row").get(0);
    assert_eq!(kept, 42);
}

#[test]
fn leaves_an_unrelated_process_alone_that_has_the_number_of_a_killed_server() {
    let project = Project::new();
    project.start();
    let pid_file = project.data().join("postmaster.pid");
    let content = std::fs::read_to_string(&pid_file).expect("a file");
    assert!(project.embedded.stop().expect("it stops"));

    let mut bystander = bystander(&project.data());
    let (_, rest) = content.split_once('\n').expect("lines");
    let number = bystander.id();
    std::fs::write(&pid_file, format!("{number}\n{rest}")).expect("a stale file");
    let socket = project.folder.join("postgresql/socket/.s.PGSQL.5432.lock");
    std::fs::write(&socket, format!("{number}\n")).expect("a stale file");

    assert_eq!(project.embedded.status().expect("a status"), Status::Stopped);
    assert!(!project.embedded.stop().expect("nothing to stop"));
    let server = project.start();
    assert_eq!(answer(&server.url), 1);
    assert!(bystander.try_wait().expect("a state").is_none(), "the bystander was ended");
    bystander.kill().expect("it ends");
    bystander.wait().expect("it ended");
}

#[test]
fn works_in_folders_with_odd_and_long_names() {
    for name in ["it's a $(false) `shop`; \"so\" – ü, %20", &"long/".repeat(30)] {
        let project = Project::named(name);
        let server = project.start();
        assert_eq!(answer(&server.url), 1, "{name}");
        assert!(project.embedded.stop().expect("it stops"));
    }
}

#[test]
fn refuses_a_socket_folder_that_somebody_else_laid_out() {
    let project = Project::named(&"long/".repeat(30));
    let url = project.embedded.url().replace("%2F", "/");
    let (_, rest) = url.split_once("host=").expect("a folder");
    let socket = PathBuf::from(rest.split('&').next().expect("a folder"));
    let trap = open_folder();
    std::os::unix::fs::symlink(trap.path(), &socket).expect("a link");
    let error = project.embedded.start().expect_err("a link that may be anybody's");
    assert!(error.message().contains("is not a folder of user"), "{error}");
    std::fs::remove_file(&socket).expect("it is still the link");
    project.start();
}

#[test]
fn names_both_versions_when_the_data_is_of_another() {
    let project = Project::new();
    let version = project.start().version;
    assert!(project.embedded.stop().expect("it stops"));
    let file = project.data().join("PG_VERSION");
    let right = std::fs::read_to_string(&file).expect("a version");
    std::fs::write(&file, "9\n").expect("another version");
    let error = project.embedded.start().expect_err("no programs for it");
    assert!(error.message().contains("was made by PostgreSQL 9"), "{error}");
    assert!(error.message().contains(&version), "{error}");
    assert!(error.hint_text().is_some());
    std::fs::write(&file, right).expect("the right version");
}

#[test]
fn shows_the_log_when_the_server_does_not_start() {
    let project = Project::new();
    let embedded = Embedded::in_folder(&project.folder).with_settings([("shared_buffers", "no")]);
    let error = embedded.start().expect_err("a wrong setting");
    let details = error.detail_lines().join("\n");
    assert!(details.contains("shared_buffers"), "{error}\n{details}");
    project.start();
}

#[test]
fn root_keeps_the_cluster_elsewhere_when_the_server_cannot_enter_the_project() {
    let project = Project::new();
    if !is_root() {
        return;
    }
    let parent = project.folder.parent().expect("a project");
    std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let server = project.start();
    assert!(server.folder.starts_with("/var/lib/pupctl"), "{}", server.folder.display());
    assert_eq!(answer(&server.url), 1);
    // Also after the folder was opened: the data stays where it is.
    std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    assert!(!project.embedded.start().expect("it runs").started);
    project.embedded.remove().expect("it is removed");
    assert!(!server.folder.exists());
}

#[test]
fn an_ordinary_user_needs_no_root_and_root_can_stop_what_they_started() {
    let project = Project::new();
    if !is_root() {
        // Then every other test shows it.
        return;
    }
    let nobody = 65534;
    let parent = project.folder.parent().expect("a project");
    chown(parent, Some(nobody), Some(nobody)).expect("an owner");
    let mut child = project.child();
    child.uid(nobody).gid(nobody).current_dir("/").env("HOME", "/");
    match child.output() {
        // The build folder may be closed to other users.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
        Ok(output) => {
            assert!(output.status.success(), "{output:?}");
            assert_eq!(std::fs::metadata(project.data()).expect("it exists").uid(), nobody);
            assert_eq!(answer(&project.embedded.url()), 1);
            assert!(project.embedded.stop().expect("it stops"));
            assert!(project.embedded.start().expect("a server").started);
            assert_eq!(std::fs::metadata(project.data()).expect("it exists").uid(), nobody);
        }
    }
}

#[test]
fn every_test_has_a_database_of_its_own() {
    let (one, other) = (TestDatabase::new(), TestDatabase::new());
    one.execute("CREATE TABLE mine (id int)");
    let count = "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'";
    assert_eq!(one.one::<i64>(count), 1);
    assert_eq!(other.one::<i64>(count), 0);
    let counted = one.psql(["-c", count]).success();
    assert_eq!(counted.stdout.trim(), "1");
    let name = one.name().to_owned();
    let _session = one.client();
    drop(one);
    let gone = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
    assert_eq!(other.one::<i64>(&gone), 0);
}

#[test]
fn a_private_server_has_settings_of_its_own() {
    let server = TestServer::private(&[("max_connections", "17")]);
    assert_eq!(setting(server.url(), "max_connections"), "17");
    let db = TestDatabase::on(&server);
    assert_eq!(db.one::<i32>("SELECT 1"), 1);
}

#[cfg(feature = "failpoints")]
#[test]
fn starts_again_after_a_kill_at_every_point() {
    use std::os::unix::process::ExitStatusExt;
    let points = pupctl::failpoint::NAMES.iter().filter(|name| name.starts_with("embedded::"));
    for point in points {
        let project = Project::new();
        let mut child = project.child();
        child.env("FAILPOINTS", format!("{point}=return")).env("PUPCTL_TEST_CHILD_STOPS", "1");
        let output = child.output().expect("a process");
        assert_eq!(output.status.signal(), Some(9), "{point}: {output:?}");
        let running = project.embedded.start().expect("a server");
        assert_eq!(answer(&running.server.url), 1, "{point}");
        let home = std::fs::read_dir(project.folder.join("postgresql")).expect("a folder");
        let mut names: Vec<_> = home.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["data", "server.log", "socket"], "{point}");
    }
}
