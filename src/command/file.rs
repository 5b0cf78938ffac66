//! Files that commands write: whole or not at all, also for whoever reads meanwhile.

use std::io::Write as _;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Kind, Result};

/// Writes a file that is not there yet, and its folder.
pub(super) fn create(path: &Path, text: &str) -> Result<()> {
    let temporary = temporary(path, text)?;
    temporary.persist_noclobber(path).map(drop).map_err(|error| {
        let is_there = error.error.kind() == std::io::ErrorKind::AlreadyExists;
        let error = failed(path, error.error);
        if is_there { there(path) } else { error }
    })
}

/// Writes a file, in the place of one that may be there.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let temporary = temporary(path, text)?;
    temporary.persist(path).map(drop).map_err(|error| failed(path, error.error))
}

/// A file is there that would be written.
pub(super) fn there(path: &Path) -> Error {
    Error::new(Kind::Refused, format!("{} is there already", path.display()))
}

/// Beside the file, so that it can be renamed.
fn temporary(path: &Path, text: &str) -> Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The user's mask takes away what it takes away from other files.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut temporary =
        builder.prefix(".pupctl").tempfile_in(folder).map_err(|error| failed(folder, error))?;
    temporary
        .write_all(text.as_bytes())
        .and_then(|()| temporary.as_file().sync_all())
        .map_err(|error| failed(path, error))?;
    Ok(temporary)
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::system(format!("cannot write {}", path.display()), error)
}
