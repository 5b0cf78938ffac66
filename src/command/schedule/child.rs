//! A job as a process of its own, so that what fails in it leaves the daemon alone.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::global::LogFormat;
use crate::command::context::Context;
use crate::error::{Error, Result};
use crate::schedule::Job;

/// How long a job waits for another pupctl, unless told otherwise.
const WAIT: Duration = Duration::from_mins(5);

/// How often the daemon looks after itself while a job runs.
const TICK: Duration = Duration::from_millis(100);

/// How many of the last lines of a job are kept, for the health file.
const KEPT_LINES: usize = 20;

/// This program. Asked once: while a new version is installed, the answer changes.
pub(super) fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|error| Error::system("cannot tell where pupctl lies", error))
}

/// The option that lets jobs wait for each other.
pub(super) fn wait(context: &Context) -> String {
    let wait = context.global.wait.or(context.config.locks.wait).unwrap_or(WAIT);
    format!("--wait={}", humantime::format_duration(wait).to_string().replace(' ', ""))
}

/// What all jobs of a daemon have in common.
#[derive(Debug)]
pub(super) struct Launcher {
    program: PathBuf,
    options: Vec<OsString>,
    database_url: Option<String>,
    /// The lines of jobs have their form already.
    relays: bool,
}

/// How a job ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The exit code; none after a signal.
    pub(super) code: Option<i32>,
    /// The last thing that it told.
    pub(super) last_words: Option<String>,
}

/// What the daemon wants of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    GoOn,
    /// End at the next safe place.
    Stop,
    /// End at once: it does not end otherwise.
    Kill,
}

impl Launcher {
    /// The daemon's own options for its jobs. What may hold a password goes into the environment:
    /// everybody can read the words of a command.
    pub(super) fn new(context: &Context, schema: &str) -> Result<Self> {
        let global = &context.global;
        let mut options: Vec<OsString> = Vec::new();
        if let Some(config) = &global.config {
            options.extend(["--config".into(), config.into()]);
        }
        options.push(format!("--schema={schema}").into());
        options.extend(global.role.iter().map(|role| format!("--role={role}").into()));
        options.push(wait(context).into());
        if let Some(budget) = global.lock_budget {
            let budget = humantime::format_duration(budget).to_string().replace(' ', "");
            options.push(format!("--lock-budget={budget}").into());
        }
        let switches = [
            ("--embedded", global.embedded),
            ("--yes", global.yes),
            ("--quiet", global.quiet),
            ("--verbose", global.verbose > 0),
            ("--verbose", global.verbose > 1),
            ("--log-format=json", global.log_format == LogFormat::Json),
        ];
        options.extend(switches.iter().filter(|(_, is)| *is).map(|(option, _)| option.into()));
        Ok(Self {
            program: program()?,
            options,
            database_url: global.database_url.clone(),
            relays: global.log_format == LogFormat::Json,
        })
    }

    /// Runs a job to its end. Until then `tick` is called again and again.
    pub(super) fn run(
        &self,
        context: &Context,
        job: &Job,
        mut tick: impl FnMut() -> Wish,
    ) -> Result<Ended> {
        let mut child = self.spawn(job)?;
        let lines = Lines::of(&mut child);
        let mut kept = VecDeque::new();
        let mut asked = false;
        let mut ticked = Instant::now();
        let status = loop {
            let line = lines.next(TICK);
            if let Some((is_error, line)) = line {
                self.tell(context, job, is_error, &line);
                kept.push_back(line);
                if kept.len() > KEPT_LINES {
                    kept.pop_front();
                }
                // Also one that writes all the time is looked after.
                if ticked.elapsed() < TICK {
                    continue;
                }
            }
            ticked = Instant::now();
            if let Some(status) = exited(&mut child)? {
                break status;
            }
            match tick() {
                Wish::Stop if !asked => {
                    asked = true;
                    terminate(&child);
                }
                Wish::Kill => drop(child.kill()),
                Wish::Stop | Wish::GoOn => {}
            }
        };
        for (is_error, line) in lines.rest() {
            self.tell(context, job, is_error, &line);
            kept.push_back(line);
        }
        let is_telling = |line: &&String| line.starts_with("error: ") || line.contains("\"ERROR\"");
        let last_words = kept.iter().rfind(is_telling).or(kept.back()).cloned();
        Ok(Ended { code: status.code(), last_words })
    }

    fn spawn(&self, job: &Job) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.options).args(&job.words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A Ctrl-C is for the daemon, which gives the job its time.
        command.process_group(0);
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(name);
        }
        if let Some(url) = &self.database_url {
            command.env("PUPCTL_DATABASE_URL", url);
        }
        command.spawn().map_err(|error| {
            Error::system(format!("cannot start {}", self.program.display()), error)
        })
    }

    fn tell(&self, context: &Context, job: &Job, is_error: bool, line: &str) {
        if self.relays && is_error {
            context.output.relay(line);
        } else if self.relays {
            context.output.say(format!("{}: {line}", job.name));
        } else {
            context.output.relay(&format!("{}: {line}", job.name));
        }
    }
}

fn exited(child: &mut Child) -> Result<Option<std::process::ExitStatus>> {
    child.try_wait().map_err(|error| Error::system("cannot wait for the job", error))
}

fn terminate(child: &Child) {
    let process = rustix::process::Pid::from_child(child);
    // One that has ended just now needs no signal.
    let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
}

/// How long to wait for the last lines of a job that has ended: what it has started may keep its
/// streams open.
const LAST_LINES: Duration = Duration::from_millis(500);

/// What a job writes, line by line, and whether to standard error.
struct Lines(Receiver<(bool, String)>);

impl Lines {
    fn of(child: &mut Child) -> Self {
        let (sender, receiver) = channel();
        let streams: [(bool, Option<Box<dyn Read + Send>>); 2] = [
            (false, child.stdout.take().map(|stream| Box::new(stream) as _)),
            (true, child.stderr.take().map(|stream| Box::new(stream) as _)),
        ];
        for (is_error, stream) in streams {
            let (Some(stream), sender) = (stream, sender.clone()) else { continue };
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                let mut line = Vec::new();
                while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                    if sender.send((is_error, text)).is_err() {
                        break;
                    }
                    line.clear();
                }
            });
        }
        Self(receiver)
    }

    fn next(&self, patience: Duration) -> Option<(bool, String)> {
        match self.0.recv_timeout(patience) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            // Both streams are closed, and the process ends in a moment.
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(Duration::from_millis(10));
                None
            }
        }
    }

    fn rest(&self) -> Vec<(bool, String)> {
        let deadline = Instant::now() + LAST_LINES;
        let mut lines = Vec::new();
        while let Ok(line) = self.0.recv_timeout(deadline - Instant::now().min(deadline)) {
            lines.push(line);
        }
        lines
    }
}
