//! Files that commands write: whole or not at all, also for whoever reads meanwhile.

use std::io::Write as _;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;

/// Writes a file that is not there yet, and its folder.
pub(super) fn create(path: &Path, text: &str) -> Result<()> {
    let temporary = temporary(path, text)?;
    temporary.persist_noclobber(path).map(drop).map_err(|error| {
        let is_there = error.error.kind() == std::io::ErrorKind::AlreadyExists;
        let error = failed(path, error.error);
        if is_there { there(path) } else { error }
    })
}

/// Writes a file, in the place of one that may be there. Whoever reads meanwhile sees the old one
/// or the new one, and so does whoever looks after a crash.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    refuse_unwritable(path)?;
    // What a link leads to is replaced, and the link stays.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = temporary(path, text)?;
    if let Ok(old) = std::fs::metadata(path) {
        // Who was kept from reading the old one is kept from the new one.
        let permissions = temporary.as_file().set_permissions(old.permissions());
        permissions.map_err(|error| failed(path, error))?;
    }
    reach("file::before_rename");
    temporary.persist(path).map_err(|error| failed(path, error.error))?;
    // The new name is in the folder, which is written apart from the file.
    let synced = std::fs::File::open(folder(path)).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failed(path, error))
}

/// Refuses a path at which no file can be replaced, before any work is done for it. A device would
/// be replaced too.
pub(super) fn refuse_unwritable(path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() {
        return Err(Error::invalid("the name of the file to write is empty")
            .hint("name a file; a variable of the shell may not be set"));
    }
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(Error::new(Kind::Invalid, format!("{} is no file", path.display()))
            .hint("name a file; - is standard output, where that is taken")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(path, error)),
    }
}

/// A file is there that would be written.
pub(super) fn there(path: &Path) -> Error {
    Error::new(Kind::Refused, format!("{} is there already", path.display()))
}

/// Beside the file, so that it can be renamed.
fn temporary(path: &Path, text: &str) -> Result<NamedTempFile> {
    let folder = folder(path);
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

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::system(format!("cannot write {}", path.display()), error)
}
