//! Runs the built binary as a person's shell would, in an environment that holds nothing else.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long something that a test awaits may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// One call of the binary, not started yet.
#[derive(Debug)]
pub struct Pupctl {
    command: Command,
    input: Option<Vec<u8>>,
    gate: Option<Gate>,
}

impl Pupctl {
    /// The binary in the given folder, which is its home as well.
    pub fn new(folder: &Path) -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_pupctl")), folder)
    }

    /// An example in the given folder. They are built with the tests, beside the binary.
    pub fn example(name: &str, folder: &Path) -> Self {
        let programs = Path::new(env!("CARGO_BIN_EXE_pupctl")).with_file_name("examples");
        let program = programs.join(name);
        assert!(program.is_file(), "{} is not built: cargo build --examples", program.display());
        Self::of(&program, folder)
    }

    fn of(program: &Path, folder: &Path) -> Self {
        let mut command = Command::new(program);
        command.env_clear().current_dir(folder).env("HOME", folder);
        for name in ["PATH", "PUPCTL_PG_BIN", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        Self { command, input: None, gate: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable of the environment.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs in another folder.
    #[must_use]
    pub fn in_folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Gives it something to read; otherwise its input is empty.
    #[must_use]
    pub fn stdin(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Sets fail points, as `operation::after_copy=return`, which kills it there. The binary
    /// must be built with the feature `failpoints`.
    #[must_use]
    pub fn failpoints(self, points: &str) -> Self {
        self.env("FAILPOINTS", points)
    }

    /// Holds it at a fail point: see [`Background::reached`] and [`Background::release`].
    #[must_use]
    pub fn hold_at(self, point: &str) -> Self {
        self.hold_at_time(point, 1)
    }

    /// The same when it comes there for the second, third, … time.
    #[must_use]
    pub fn hold_at_time(mut self, point: &str, time: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let hold = format!("{point} {time} {}", folder.path().display());
        self.gate = Some(Gate { point: hold.clone(), folder });
        self.env("PUPCTL_HOLD", hold)
    }

    /// Runs it to its end.
    #[must_use = "call success() or failure(code)"]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts it and goes on.
    pub fn spawn(mut self) -> Background {
        let line = line(&self.command);
        let input = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        if let (Some(input), Some(mut pipe)) = (self.input, child.stdin.take()) {
            // In a thread, as it may write a lot before it reads all; one that ends early is fine.
            std::thread::spawn(move || pipe.write_all(&input));
        }
        Background { line, child: Some(child), gate: self.gate }
    }
}

/// A call of the binary that runs. Killed when it is dropped.
#[derive(Debug)]
pub struct Background {
    line: String,
    child: Option<Child>,
    gate: Option<Gate>,
}

/// Where a call is held until it is let go.
#[derive(Debug)]
struct Gate {
    point: String,
    folder: tempfile::TempDir,
}

impl Background {
    /// The process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().expect("it was not awaited").try_wait().expect("a state").is_none()
    }

    /// Waits until it is held where [`Pupctl::hold_at`] says.
    #[track_caller]
    pub fn reached(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let gate = self.gate.as_ref().expect("it is held somewhere");
        let (point, reached) = (gate.point.clone(), gate.folder.path().join("reached"));
        while !reached.exists() {
            if Instant::now() > deadline || !self.is_running() {
                let child = self.child.take().expect("it was not awaited");
                drop(self.gate.take());
                let output = child.wait_with_output().expect("its output");
                panic!("it does not come to {point}: {}", Output::new(self.line.clone(), &output));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets it go on.
    pub fn release(&self) {
        let gate = self.gate.as_ref().expect("it is held somewhere");
        std::fs::write(gate.folder.path().join("go"), "").expect("a file");
    }

    /// Sends a signal by its name, as `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(sent.expect("the program kill").success(), "cannot send {name}");
    }

    /// Kills it as `kill -9` does, and waits for its end.
    #[must_use = "call success() or failure(code)"]
    pub fn kill(mut self) -> Output {
        // One that ended already cannot be killed, which is as good.
        let _ = self.child.as_mut().expect("it was not awaited").kill();
        self.wait()
    }

    /// Waits for its end.
    #[must_use = "call success() or failure(code)"]
    pub fn wait(mut self) -> Output {
        // Nobody else lets it go any more.
        if self.gate.is_some() {
            self.release();
        }
        let child = self.child.take().expect("it was not awaited");
        let output = child.wait_with_output().expect("its output");
        Output::new(std::mem::take(&mut self.line), &output)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What a program wrote and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    line: String,
    /// The data that it wrote.
    pub stdout: String,
    /// What it told beside the data.
    pub stderr: String,
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// How it ended.
    pub status: ExitStatus,
}

impl Output {
    /// Runs another program to its end.
    #[must_use = "call success() or failure(code)"]
    pub fn of(command: &mut Command) -> Self {
        let line = line(command);
        let output = command.output().unwrap_or_else(|error| panic!("{line}: {error}"));
        Self::new(line, &output)
    }

    fn new(line: String, output: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Self { line, stdout, stderr, code: output.status.code(), status: output.status }
    }

    /// Fails the test unless the program ended well.
    #[track_caller]
    pub fn success(self) -> Self {
        self.failure(0)
    }

    /// Fails the test unless the program ended with this code.
    #[track_caller]
    pub fn failure(self, code: i32) -> Self {
        let found = self.code;
        assert!(found == Some(code), "expected exit code {code}, found {found:?}\n{self}");
        self
    }

    /// Fails the test unless the program was ended by `kill -9`.
    #[track_caller]
    pub fn killed(self) -> Self {
        use std::os::unix::process::ExitStatusExt;
        assert!(self.status.signal() == Some(9), "expected to be killed: {}\n{self}", self.status);
        self
    }

    /// The data as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("no JSON: {error}\n{self}"),
        }
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, stdout, stderr, status, .. } = self;
        write!(formatter, "$ {line}\n{status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Waits until something holds, and fails the test when it does not come to hold.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
