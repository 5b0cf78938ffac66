//! The state file: up to when each job has had its runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::command::file;
use crate::error::{Error, Kind, Result};

/// The form of the file.
const VERSION: u32 = 1;

/// A file that this daemon alone writes.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    content: Content,
    /// Locked for as long as it is open. Beside the file, which is exchanged as a whole.
    _lock: File,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    version: u32,
    jobs: BTreeMap<String, Known>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Known {
    covered: DateTime<Utc>,
}

impl State {
    /// Reads the file, and keeps others away.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let beside = path.with_added_extension("lock");
        let failed = |error| Error::system(format!("cannot open {}", beside.display()), error);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&beside)
            .map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            if error == rustix::io::Errno::WOULDBLOCK {
                let message = format!("another daemon uses {}", path.display());
                return Error::new(Kind::Busy, message).hint("give each daemon a file of its own");
            }
            failed(error.into())
        })?;
        let content = read(path)?;
        Ok(Self { path: path.to_owned(), content, _lock: lock })
    }

    /// Up to when a job has had its runs.
    pub(super) fn covered(&self, job: &str) -> Option<DateTime<Utc>> {
        self.content.jobs.get(job).map(|known| known.covered)
    }

    /// Writes the file anew, as a whole.
    pub(super) fn save(
        &mut self,
        jobs: impl Iterator<Item = (String, DateTime<Utc>)>,
    ) -> Result<()> {
        let jobs = jobs.map(|(name, covered)| (name, Known { covered })).collect();
        self.content = Content { version: VERSION, jobs };
        let text = serde_json::to_string_pretty(&self.content).unwrap_or_default();
        file::replace(&self.path, &(text + "\n"))
    }
}

fn read(path: &Path) -> Result<Content> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Content::default());
        }
        Err(error) => {
            return Err(Error::system(format!("cannot read {}", path.display()), error));
        }
    };
    let hint = "move it away: the jobs begin anew then";
    let content: Content = serde_json::from_str(&text).map_err(|error| {
        Error::invalid(format!("{} is no state of jobs: {error}", path.display())).hint(hint)
    })?;
    if content.version != VERSION {
        return Err(Error::invalid(format!(
            "{} has the version {}, which this pupctl does not know",
            path.display(),
            content.version
        ))
        .hint(hint));
    }
    Ok(content)
}
