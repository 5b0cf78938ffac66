//! A crontab: of a user, or with a column for the user, as in `/etc/cron.d`.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::render::quote::shell_word;

use super::{Sheet, line, plain, render};

const TEMPLATE: &str = include_str!("../../../templates/schedule/crontab.j2");

/// Debian's cron cuts longer lines.
const LINE_LENGTH_MAX: usize = 900;

#[derive(Serialize)]
struct Values {
    user: Option<String>,
    jitter: u64,
    jobs: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    name: String,
    /// The time zone, where it is not that of the line before.
    zone: Option<&'static str>,
    times: String,
    command: String,
}

/// Renders the jobs.
pub fn print(sheet: &Sheet) -> Result<String> {
    let mut last = None;
    let mut jobs = Vec::new();
    for job in &sheet.jobs {
        let zone = job.timetable.zone.name();
        let mut command = format!("cd {} &&", word(&sheet.folder.to_string_lossy())?);
        for each in sheet.words(job) {
            command.push(' ');
            command.push_str(&word(&each)?);
        }
        if command.len() > LINE_LENGTH_MAX {
            return Err(Error::invalid(format!("the job {} is too long for a crontab", job.name)));
        }
        let times = job.timetable.expression.to_string();
        let zone = (last.replace(zone) != Some(zone)).then_some(zone);
        jobs.push(Line { name: job.name.clone(), zone, times, command });
    }
    let values = Values { user: sheet.user.clone(), jitter: sheet.jitter_seconds, jobs };
    render("crontab", TEMPLATE, &[("plain", plain), ("line", line)], &values)
}

/// A word for the shell, of which cron reads the text first: it ends a command at `%`, unless a
/// backslash stands before it. Some crons leave that backslash there, so it must be one that the
/// shell takes away.
fn word(text: &str) -> Result<String> {
    if text.contains('\\') {
        let error = Error::invalid(format!("`{text}` has a backslash, which crons read in ways"));
        return Err(error.hint("use systemd's timers, or the daemon: pupctl schedule run"));
    }
    let parts: Vec<_> = text.split('%').collect();
    if parts.len() == 1 {
        return Ok(shell_word(text));
    }
    let quoted = |part: &&str| if part.is_empty() { String::new() } else { shell_word(part) };
    Ok(parts.iter().map(quoted).collect::<Vec<_>>().join("\\%"))
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn words_pass_cron_and_the_shell() {
        assert_eq!(word("O'Neill").expect("a word"), "'O'\\''Neill'");
        assert_eq!(word("100% of it").expect("a word"), "100\\%' of it'");
        assert_eq!(word("%").expect("a word"), "\\%");
        assert!(word("a\\b").is_err());
    }
}
