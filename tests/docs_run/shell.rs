//! The shell in which the commands of a page run: a folder and a database of their own, and an
//! environment that holds nothing else.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::support::{TestDatabase, open_folder, psql};

/// How long a command may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// What is around every command: the variables and the folder of the one before.
const AROUND: &str = include_str!("around.sh");

/// What hidden scripts may use beside the programs.
const PRELUDE: &str = include_str!("prelude.sh");

/// One command, as the shell gets it.
#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    pub(crate) text: &'a str,
    pub(crate) runs_for: Option<Duration>,
    pub(crate) yes: bool,
    pub(crate) is_script: bool,
}

/// How a command ended, and what it printed on both of its streams.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

/// A shell with its database.
#[derive(Debug)]
pub(crate) struct Shell {
    database: TestDatabase,
    folder: TempDir,
    state: TempDir,
    /// What commands have left running behind them is ended by their group.
    groups: Vec<Pid>,
}

impl Shell {
    pub(crate) fn new() -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let programs = state.path().join("bin");
        fs::create_dir(&programs).expect("a folder for programs");
        let pupctl = Path::new(env!("CARGO_BIN_EXE_pupctl"));
        symlink(pupctl, programs.join("pupctl")).expect("a link");
        symlink(root().join("tests/docs_run/cargo.sh"), programs.join("cargo")).expect("a link");
        symlink(psql().expect("psql; run scripts/setup"), programs.join("psql")).expect("a link");
        let shell = Self {
            database: TestDatabase::new(),
            folder: open_folder(),
            state,
            groups: Vec::new(),
        };
        // Pages name these folders as they are called from the root of the repository.
        let folder = shell.folder.path();
        fs::create_dir(folder.join("tests")).expect("a folder");
        for name in ["examples", "tests/data"] {
            symlink(root().join(name), folder.join(name)).expect("a link");
        }
        shell
    }

    /// Runs a command to its end, or for as long as it is meant to run.
    pub(crate) fn run(&mut self, call: &Call<'_>) -> Ended {
        let output = self.state.path().join("output");
        let mut child = self.spawn(call, &output);
        let group = Pid::from_child(&child);
        self.groups.push(group);
        let status = if let Some(time) = call.runs_for {
            let early = wait(&mut child, time);
            if let Some(status) = early {
                let words = format!("it ended by itself: {status}\n");
                return Ended { code: None, output: words + &read(&output) };
            }
            kill_process_group(group, Signal::TERM).expect("it runs");
            wait(&mut child, PATIENCE)
        } else {
            wait(&mut child, PATIENCE)
        };
        let Some(status) = status else {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.wait();
            let words = format!("it did not end within {PATIENCE:?}\n");
            return Ended { code: None, output: words + &read(&output) };
        };
        Ended { code: status.code(), output: read(&output) }
    }

    fn spawn(&self, call: &Call<'_>, output: &Path) -> Child {
        let file = File::create(output).expect("a file for the output");
        let programs = self.state.path().join("bin");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .args(["--noprofile", "--norc", "-c", AROUND])
            .env_clear()
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("HOME", self.folder.path())
            .env("LANG", "C.UTF-8")
            .env("PUPCTL_DATABASE_URL", self.database.url())
            .env("EXAMPLES", example_programs())
            .env("FIXTURES", root().join("tests/docs_run/fixtures"))
            .env("DOCS_STATE", self.state.path().join("state"))
            .env("DOCS_COMMAND", if call.is_script { "" } else { call.text })
            .env("DOCS_SCRIPT", script(call))
            .env("DOCS_YES", if call.yes { "--yes" } else { "" })
            .env("DOCS_EXEC", if call.runs_for.is_some() { "exec" } else { "" })
            .current_dir(self.folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("the same file"))
            .stderr(file);
        for name in ["PUPCTL_PG_BIN", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.spawn().expect("bash")
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if self.folder.path().join(".pupctl").exists() {
            let words = "pupctl embedded stop --delete-data --yes";
            let ended = self.run(&Call { text: words, is_script: true, ..Call::default() });
            assert!(ended.code == Some(0) || std::thread::panicking(), "{}", ended.output);
        }
        for group in self.groups.drain(..) {
            // Mostly nobody is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn script(call: &Call<'_>) -> String {
    if call.is_script { format!("set -eu\n{PRELUDE}\n{}", call.text) } else { String::new() }
}

fn wait(child: &mut Child, time: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait().expect("a state") {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Examples are built with the tests, beside the binary.
fn example_programs() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_pupctl")).with_file_name("examples")
}
