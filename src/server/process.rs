//! The process of the server: whether it lives, whether it is really ours, and the leftovers of
//! one that was killed. A number in a file proves nothing, as numbers are given out again.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::find::Programs;
use super::place::Place;
use crate::error::Kind;
use crate::{Error, Result};

/// How many of the last lines of a log an error shows.
const LOG_LINES_MAX: usize = 15;

/// How much of the end of a log is read for them.
const LOG_BYTES_MAX: u64 = 16 * 1024;

/// What `postmaster.pid` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PidFile {
    /// The process that wrote the file.
    pub(super) pid: u32,
    /// Whether it accepts sessions.
    pub(super) ready: bool,
}

/// The server of this cluster, if it lives.
pub(super) fn alive(place: &Place) -> Option<PidFile> {
    let found = parse(&std::fs::read_to_string(place.data().join("postmaster.pid")).ok()?)?;
    is_server_of(place, found.pid).then_some(found)
}

/// The first line is the number of the process, the eighth its state, padded with blanks.
fn parse(text: &str) -> Option<PidFile> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let ready = lines.nth(6).is_some_and(|state| state.trim() == "ready");
    Some(PidFile { pid, ready })
}

/// Whether the process is a server on our data: it is named `postgres` and works in our folder.
fn is_server_of(place: &Place, pid: u32) -> bool {
    if cfg!(target_os = "linux") {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        return name.trim() == "postgres"
            && working_folder(place, pid).is_some_and(|cwd| is_same(&cwd, &place.data()));
    }
    // Elsewhere: a process of that name, and somebody listens on the socket in our folder.
    let mut ps = place.account.command("ps");
    let output = ps.args(["-p", &pid.to_string(), "-o", "comm="]).output();
    let is_postgres = output
        .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim().ends_with("postgres"));
    is_postgres && UnixStream::connect(place.socket_file()).is_ok()
}

fn working_folder(place: &Place, pid: u32) -> Option<PathBuf> {
    let link = format!("/proc/{pid}/cwd");
    if let Ok(target) = std::fs::read_link(&link) {
        return Some(target);
    }
    // Without the right to trace, as root in a container is, only the process's own user may.
    let output = place.account.command("readlink").arg(&link).output().ok()?;
    let target = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(target.trim_end_matches('\n')))
}

fn is_same(left: &Path, right: &Path) -> bool {
    matches!((left.canonicalize(), right.canonicalize()), (Ok(l), Ok(r)) if l == r)
}

/// Removes what a killed server left, which would keep the next one from starting when its
/// number belongs to some other process by now. Call only when no server lives.
pub(super) fn clear_leftovers(place: &Place) -> Result<()> {
    let socket = place.socket_file();
    let mut socket_lock = socket.clone().into_os_string();
    socket_lock.push(".lock");
    // Processes that outlived their postmaster are still found by the server itself, through
    // the shared memory that they hold.
    let leftovers = [place.data().join("postmaster.pid"), socket, socket_lock.into()];
    for path in leftovers {
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::debug!("removed {}, left by a killed server", path.display()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(Error::system(format!("cannot remove {}", path.display()), error));
            }
        }
    }
    Ok(())
}

/// Runs a program of the server to its end, in the home of the cluster, as the server's user.
///
/// The arguments hold no path of the user: `initdb` and `pg_ctl` pass theirs through a shell
/// without quoting, so that a project folder named `$(…)` would be run. Everything is relative.
pub(super) fn run(
    place: &Place,
    programs: &Programs,
    name: &str,
    arguments: &[String],
    own_group: bool,
) -> Result<Output> {
    use std::os::unix::process::CommandExt;

    let program = programs.program(name);
    let mut command = place.account.command(&program);
    command.args(arguments).current_dir(&place.home);
    if own_group {
        // So that Ctrl-C in the terminal ends the caller only.
        command.process_group(0);
    }
    tracing::debug!("running {command:?}");
    command
        .output()
        .map_err(|error| Error::system(format!("cannot run {}", program.display()), error))
}

/// The error for a program that ended badly, with what it said.
pub(super) fn failed(what: &str, output: &Output) -> Error {
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    Error::new(Kind::System, format!("{what}: {}", output.status))
        .details(said.lines().map(str::to_owned))
}

/// The length of the log, to tell later what was added.
pub(super) fn log_length(place: &Place) -> u64 {
    std::fs::metadata(place.log()).map_or(0, |log| log.len())
}

/// The last lines that were added to the log since it had the given length.
pub(super) fn log_since(place: &Place, length: u64) -> Vec<String> {
    let from = length.max(log_length(place).saturating_sub(LOG_BYTES_MAX));
    let mut bytes = Vec::new();
    let read = std::fs::File::open(place.log()).and_then(|mut log| {
        log.seek(SeekFrom::Start(from))?;
        log.read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        return vec![format!("the log {} cannot be read: {error}", place.log().display())];
    }
    last_lines(&String::from_utf8_lossy(&bytes))
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_MAX)..].iter().map(|&line| line.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_pid_file() {
        let ready = "4711\n/data\n1700000000\n5432\n/socket\n\n  123  456\nready   \n";
        assert_eq!(parse(ready), Some(PidFile { pid: 4711, ready: true }));
        let starting = "4711\n/data\n1700000000\n5432\n/socket\n\n  123  456\nstarting\n";
        assert_eq!(parse(starting), Some(PidFile { pid: 4711, ready: false }));
        assert_eq!(parse("4711\n"), Some(PidFile { pid: 4711, ready: false }));
        assert_eq!(parse("-4711\n"), None, "a single-user session is no server");
        assert_eq!(parse(""), None);
    }

    #[test]
    fn keeps_the_last_lines_of_a_log() {
        let log: Vec<String> = (0..40).map(|number| format!("line {number}")).collect();
        let last = last_lines(&log.join("\n"));
        assert_eq!(last.len(), LOG_LINES_MAX);
        assert_eq!(last.last().map(String::as_str), Some("line 39"));
        assert_eq!(last_lines("one\n"), ["one"]);
    }
}
