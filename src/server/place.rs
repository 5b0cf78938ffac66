//! Where the cluster of a project lies, and who owns it. Usually all of it is in `.pupctl/`, but
//! root's server runs as a user that may be unable to look there, and a socket's path is short.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::account::Account;
use crate::{Error, Result};

/// The port names the socket; nothing listens on it, as the server has no TCP address.
pub(super) const PORT: u16 = 5432;

/// The longest path of a socket: 108 bytes with the closing zero on Linux, 104 elsewhere.
const SOCKET_BYTES_MAX: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The folder of root's clusters whose project the user of the server cannot enter.
const ELSEWHERE: &str = "/var/lib/pupctl";

/// Where one cluster lies and who runs it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `.pupctl`, absolute.
    pub(super) folder: PathBuf,
    /// The private folder of the cluster: data, log, usually the socket.
    pub(super) home: PathBuf,
    /// The private folder with the socket.
    pub(super) socket: PathBuf,
    /// Who runs the server.
    pub(super) account: Account,
}

impl Place {
    /// The place of the cluster of `.pupctl` at `folder`: the one that exists, else the one
    /// where it would be made. The same answer for every caller.
    pub(super) fn of(folder: &Path) -> Self {
        let near = folder.join("postgresql");
        let far = Path::new(ELSEWHERE).join(far_name(folder));
        for home in [&near, &far] {
            let Ok(data) = std::fs::metadata(home.join("data")) else { continue };
            let account = Account::owner_of(&data).unwrap_or_else(Account::choose);
            return Self::at(folder, home.clone(), account);
        }
        let account = Account::choose();
        let home =
            if !account.is_other() || account.reaches(existing(folder)) { near } else { far };
        Self::at(folder, home, account)
    }

    fn at(folder: &Path, home: PathBuf, account: Account) -> Self {
        let socket = socket_folder(&home, account.uid());
        Self { folder: folder.to_owned(), home, socket, account }
    }

    /// The data folder of the cluster.
    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The log of the server.
    pub(super) fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    /// The socket itself.
    pub(super) fn socket_file(&self) -> PathBuf {
        self.socket.join(format!(".s.PGSQL.{PORT}"))
    }

    /// Whether the socket lies outside the folder of the cluster.
    pub(super) fn has_far_socket(&self) -> bool {
        !self.socket.starts_with(&self.home)
    }

    /// Makes the folders that are missing, private to the user of the server.
    pub(super) fn prepare(&self) -> Result<()> {
        if !self.home.starts_with(&self.folder) {
            tracing::info!(
                "user {} of the server cannot enter {}; the cluster is kept in {}",
                self.account.uid(),
                self.folder.display(),
                self.home.display(),
            );
            create_folder(Path::new(ELSEWHERE), 0o755)?;
        }
        self.private(&self.home)?;
        if !self.account.reaches(&self.home) {
            return Err(Error::refused(format!(
                "user {} of the server cannot enter {}",
                self.account.uid(),
                self.home.display(),
            ))
            .hint("open the folders above it to that user (`chmod o+x`), or move the project"));
        }
        self.private(&self.socket)
    }

    /// Creates a folder of mode 0700, or makes sure that an existing one is the server's own.
    fn private(&self, folder: &Path) -> Result<()> {
        let created = create_folder(folder, 0o700)?;
        let system = |error| Error::system(format!("cannot use {}", folder.display()), error);
        // Not followed: in a folder that all may write to, the name could be anybody's link.
        let found = std::fs::symlink_metadata(folder).map_err(system)?;
        // Root's own is left by a run that was killed before it gave the folder away.
        let unfinished = self.account.is_other() && found.uid() == 0;
        if !found.is_dir() || (found.uid() != self.account.uid() && !unfinished) {
            return Err(Error::refused(format!(
                "{} is not a folder of user {}, as which the server runs",
                folder.display(),
                self.account.uid(),
            ))
            .hint("run pupctl as the owner of that folder, or remove the folder"));
        }
        if created || unfinished {
            self.account.give(folder)?;
        }
        std::fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(system)
    }
}

/// Makes the path absolute and resolves the links of what exists of it, so that every way to
/// the folder leads to the same cluster.
pub(super) fn absolute(folder: &Path) -> PathBuf {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let present = existing(&folder);
    let Ok(resolved) = present.canonicalize() else { return folder };
    match folder.strip_prefix(present) {
        // Joining an empty rest would add a slash at the end.
        Ok(rest) if !rest.as_os_str().is_empty() => resolved.join(rest),
        _ => resolved,
    }
}

/// The lock under which one process at a time starts, stops or removes the server. Makes
/// `.pupctl` where it is missing. Released when the file is dropped, also by a kill.
pub(super) fn lock(folder: &Path) -> Result<File> {
    if create_folder(folder, 0o755)? {
        // A database does not belong in the project's history.
        write_new(&folder.join(".gitignore"), b"*\n")?;
    }
    let path = folder.join("lock");
    let system = |error| {
        Error::system(format!("cannot lock {}", path.display()), error)
            .hint("run pupctl as the owner of that folder")
    };
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(&path).map_err(system)?;
    if file.try_lock().is_err() {
        tracing::info!("waiting for another pupctl, which starts or stops the embedded server");
        file.lock().map_err(system)?;
    }
    Ok(file)
}

fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    match created.and_then(|mut file| file.write_all(content)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Error::system(format!("cannot write {}", path.display()), error))
        }
        _ => Ok(()),
    }
}

/// Creates a folder and says whether it was missing. The mode holds whatever the umask is.
fn create_folder(folder: &Path, mode: u32) -> Result<bool> {
    let system = |error| Error::system(format!("cannot create {}", folder.display()), error);
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).map_err(system)?;
    }
    match DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => {
            std::fs::set_permissions(folder, Permissions::from_mode(mode)).map_err(system)?;
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(system(error)),
    }
}

/// The deepest folder on the path that exists.
fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|path| path.exists()).unwrap_or_else(|| Path::new("/"))
}

/// The name of the project, for people, and a hash of its whole path, against two of one name.
fn far_name(folder: &Path) -> String {
    let project = folder.parent().and_then(Path::file_name).unwrap_or_default();
    let mut name = project.to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    name.truncate(40);
    format!("{name}-{:016x}", fnv1a(folder.as_os_str().as_bytes()))
}

fn socket_folder(home: &Path, uid: u32) -> PathBuf {
    let near = home.join("socket");
    if near.join(format!(".s.PGSQL.{PORT}")).as_os_str().len() <= SOCKET_BYTES_MAX {
        return near;
    }
    // Not TMPDIR: whoever comes with another one must find the same socket.
    let hash = fnv1a(home.as_os_str().as_bytes());
    PathBuf::from(format!("/tmp/pupctl-{uid}-{hash:016x}"))
}

/// FNV-1a, because the standard library's hash may change from one release to the next and
/// would then lose the clusters that exist.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_published() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn keeps_the_socket_near_while_its_path_fits() {
        let home = PathBuf::from(format!("/{}", "a".repeat(SOCKET_BYTES_MAX - 22)));
        let near = socket_folder(&home, 7);
        assert_eq!(near, home.join("socket"));
        assert_eq!(near.join(".s.PGSQL.5432").as_os_str().len(), SOCKET_BYTES_MAX);
        let longer = PathBuf::from(format!("{}a", home.display()));
        let far = socket_folder(&longer, 7).display().to_string();
        assert!(far.starts_with("/tmp/pupctl-7-"), "{far}");
    }

    #[test]
    fn names_a_far_place_after_the_project() {
        let name = far_name(Path::new("/root/my shop/.pupctl"));
        assert!(name.starts_with("my-shop-"), "{name}");
        assert_ne!(name, far_name(Path::new("/home/my shop/.pupctl")));
    }

    #[test]
    fn resolves_links_of_what_exists() {
        let place = tempfile::tempdir().expect("a folder");
        let real = place.path().canonicalize().expect("it exists").join("real");
        std::fs::create_dir(&real).expect("a folder");
        std::os::unix::fs::symlink(&real, place.path().join("link")).expect("a link");
        assert_eq!(absolute(&place.path().join("link/a/.pupctl")), real.join("a/.pupctl"));
        assert_eq!(absolute(&place.path().join("link")), real);
    }
}
