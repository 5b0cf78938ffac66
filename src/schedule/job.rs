//! A command and when it runs.

use crate::error::{Error, Result};

use super::Timetable;

/// With a prefix it is the name of a unit of systemd and of a CronJob, which end at 52 letters.
const NAME_LENGTH_MAX: usize = 40;

/// A command that is run again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// How it is told from others.
    pub name: String,
    /// The command, without the program.
    pub words: Vec<String>,
    /// What the journal calls the command.
    pub command: &'static str,
    /// When it runs.
    pub timetable: Timetable,
    /// Whether it takes events out of the store, so that a wrong clock must not begin it.
    pub destroys: bool,
}

impl Job {
    /// What the journal calls its runs: what is taken out from cron is told from the rest.
    #[must_use]
    pub fn in_journal(&self) -> String {
        let expired = self.words.iter().any(|word| word == "--expired");
        let ending = if self.command == "archive" && expired { " --expired" } else { "" };
        format!("{}{ending}", self.command)
    }

    /// The command as people write it.
    #[must_use]
    pub fn line(&self) -> String {
        let words = self.words.iter().map(|word| crate::render::quote::shell_word(word));
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Refuses a name that systemd or Kubernetes would not take.
pub fn validate_name(name: &str) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_fine = !name.is_empty()
        && name.len() <= NAME_LENGTH_MAX
        && name.bytes().all(is_plain)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if is_fine {
        return Ok(());
    }
    Err(Error::invalid(format!("`{name}` cannot be the name of a job")).hint(format!(
        "use at most {NAME_LENGTH_MAX} small letters, digits and hyphens: ensure-partitions"
    )))
}
