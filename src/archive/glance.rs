//! What a glance at an archive tells, without reading its rows.

use std::fs::{File, metadata};
use std::time::SystemTime;

use chrono::{DateTime, Utc};

use crate::error::Result;

use super::folder::Archive;
use super::manifest::FILE;

impl Archive {
    /// Whether all files are there in their sizes.
    pub fn check_sizes(&self) -> Result<()> {
        self.manifest.files.iter().try_for_each(|file| self.check_size(file).map(drop))
    }

    /// When the archive was proven last: the time of its manifest, which is written when it is
    /// proven first, and which [`Archive::note_proven`] renews.
    #[must_use]
    pub fn proven_at(&self) -> Option<DateTime<Utc>> {
        let found = metadata(self.folder.join(FILE)).and_then(|file| file.modified());
        found.ok().map(DateTime::from)
    }

    /// Notes that the archive was proven now. On a medium that cannot be written the old time
    /// stays.
    pub fn note_proven(&self) {
        let touched = File::open(self.folder.join(FILE))
            .and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!("cannot note that {} was proven: {error}", self.name());
        }
    }
}
