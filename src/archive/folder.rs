//! The folder of an archive. It is written under a name of its own, and gets the one that it keeps
//! when all of it is proven and on the disk: whoever sees `billing-2026-01` sees a whole archive.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;

use super::column::Column;
use super::contents::Contents;
use super::manifest::{ArchivedFile, Description, FILE, Manifest};
use super::read::{self, Reader};
use super::write::{self, Settings, Written};
use super::{Format, checksum, restore};

/// The script beside rows of the format `copy`.
const RESTORE_FILE: &str = "restore.sql";

/// What the name of an unfinished archive ends with; it begins with a dot.
const UNFINISHED: &str = ".partial";

/// So often a folder that vanishes is made again.
const TRIES: usize = 10;

/// Names are parts of file names, with an ending.
const NAME_BYTES_MAX: usize = 200;

/// Whether a text is the name of one thing in a folder, and none that is hidden.
pub(super) fn is_plain_name(name: &str) -> bool {
    let is_odd = |character: char| character.is_control() || "/\\".contains(character);
    let length = name.len();
    (1..=NAME_BYTES_MAX).contains(&length) && !name.starts_with('.') && !name.contains(is_odd)
}

/// Refuses what cannot be the name of an archive.
pub fn validate_name(name: &str) -> Result<()> {
    if is_plain_name(name) {
        return Ok(());
    }
    Err(Error::invalid(format!("`{name}` cannot be the name of an archive"))
        .hint("take a name of letters, digits, - and _"))
}

/// An archive that is being written. Dropped without [`Draft::publish`] it leaves nothing behind.
///
/// A second pupctl that writes an archive of the same name is refused: the folder is locked. What
/// a killed one left behind is removed by the next.
#[derive(Debug)]
pub struct Draft {
    parent: PathBuf,
    name: String,
    /// Open as long as it is written, because the lock is its.
    folder: File,
    /// What was written and proven.
    written: Option<(Settings, Written, Option<Contents>)>,
    published: bool,
}

impl Draft {
    /// Makes the folder, and the one in which archives are.
    pub fn begin(parent: &Path, name: &str) -> Result<Self> {
        validate_name(name)?;
        make_folder(parent)?;
        refuse_existing(&parent.join(name))?;
        let folder = lock(&parent.join(partial_name(name)))?;
        let draft = Self {
            parent: parent.to_owned(),
            name: name.to_owned(),
            folder,
            written: None,
            published: false,
        };
        // Whoever held the lock until now may have finished.
        refuse_existing(&parent.join(name))?;
        draft.empty()?;
        reach("archive::begun");
        Ok(draft)
    }

    /// Where the archive will be.
    #[must_use]
    pub fn destination(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    fn partial(&self) -> PathBuf {
        self.parent.join(partial_name(&self.name))
    }

    /// Writes the rows of a `COPY … TO STDOUT (FORMAT binary)`. `watch` is told how many rows and
    /// bytes came so far, and stops the work by an error.
    pub fn write(
        &mut self,
        rows: impl BufRead,
        columns: &[Column],
        settings: Settings,
        watch: &mut dyn FnMut(u64, u64) -> Result<()>,
    ) -> Result<&Written> {
        let path = self.partial().join(settings.format.file_name());
        let file = create(&path)?;
        let written = write::write(rows, file, &path, columns, settings, watch)?;
        reach("archive::written");
        let (_, written, _) = self.written.insert((settings, written, None));
        Ok(written)
    }

    /// Reads the rows back and compares them with what the server says of the table.
    pub fn prove(
        &mut self,
        columns: &[Column],
        expected: &Contents,
        watch: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let (path, format) = self.rows_file()?;
        let found = read::prove(&path, format, columns, watch)?;
        self.compare(found, expected, &path)
    }

    /// The same with the question to the server asked meanwhile, by `ask`: each keeps a processor
    /// busy. `watch` is told how many rows were read, on another thread.
    pub fn prove_while(
        &mut self,
        columns: &[Column],
        ask: impl FnOnce() -> Result<Contents>,
        watch: &(dyn Fn(u64) -> Result<()> + Sync),
    ) -> Result<()> {
        let (path, format) = self.rows_file()?;
        let (found, expected) = std::thread::scope(|scope| {
            let read = scope.spawn(|| read::prove(&path, format, columns, &mut |rows| watch(rows)));
            let expected = ask();
            let panicked = |_| Err(Error::refused("the thread that read the file back panicked"));
            (read.join().unwrap_or_else(panicked), expected)
        });
        // What the server says comes first: a signal cancels both.
        let expected = expected?;
        self.compare(found?, &expected, &path)
    }

    /// The file with the rows that were written.
    fn rows_file(&self) -> Result<(PathBuf, Format)> {
        let (settings, ..) = self.written.as_ref().ok_or_else(unproven)?;
        Ok((self.partial().join(settings.format.file_name()), settings.format))
    }

    fn compare(&mut self, found: Contents, expected: &Contents, path: &Path) -> Result<()> {
        let differences = found.differences(expected);
        if !differences.is_empty() {
            let what = format!("{} does not hold the rows of the table", path.display());
            return Err(Error::refused(what)
                .details(differences)
                .hint("the table has changed meanwhile, or the disk fails: archive it again"));
        }
        if let Some((_, _, proven)) = &mut self.written {
            *proven = Some(found);
        }
        reach("archive::proven");
        Ok(())
    }

    /// Writes what belongs beside the rows, and gives the folder its name. Refuses rows that were
    /// not proven.
    pub fn publish(mut self, description: &Description) -> Result<Archive> {
        let Some((settings, written, Some(contents))) = self.written.take() else {
            return Err(unproven());
        };
        let rows_name = settings.format.file_name().to_owned();
        let Written { bytes, sha256, .. } = written;
        let mut files = vec![ArchivedFile { name: rows_name, bytes, sha256 }];
        if settings.format == Format::Copy {
            let Description { table, columns, ddl, .. } = description;
            let script = restore::restore_sql(table, columns, ddl, &contents)?;
            files.push(self.beside(RESTORE_FILE, &script)?);
        }
        let compression = settings.compression();
        let manifest = Manifest::new(description, settings.format, compression, &contents, files);
        self.beside(FILE, &manifest.text()?)?;
        sync(&self.folder, &self.partial())?;
        reach("archive::before_rename");
        self.rename()?;
        reach("archive::after_rename");
        Ok(Archive { folder: self.destination(), manifest })
    }

    /// Writes a small file.
    fn beside(&self, name: &str, text: &str) -> Result<ArchivedFile> {
        let path = self.partial().join(name);
        let cannot = |error| Error::system(format!("cannot write {}", path.display()), error);
        let mut sink = checksum::Sink::new(create(&path)?);
        let sealed = sink.write_all(text.as_bytes()).and_then(|()| sink.seal()).map_err(cannot)?;
        Ok(ArchivedFile { name: name.to_owned(), bytes: sealed.bytes, sha256: sealed.sha256 })
    }

    fn rename(&mut self) -> Result<()> {
        let destination = self.destination();
        refuse_existing(&destination)?;
        // Renaming a folder never replaces one that holds anything.
        fs::rename(self.partial(), &destination).map_err(|error| match error.kind() {
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => exists(&destination),
            _ => Error::system(format!("cannot make {}", destination.display()), error),
        })?;
        self.published = true;
        sync_folder(&self.parent)
    }

    /// Removes what a killed run left.
    fn empty(&self) -> Result<()> {
        let partial = self.partial();
        let cannot = |error| Error::system(format!("cannot empty {}", partial.display()), error);
        for entry in fs::read_dir(&partial).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            let is_folder = entry.file_type().map_err(cannot)?.is_dir();
            let path = entry.path();
            if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                .map_err(cannot)?;
        }
        self.folder.set_permissions(fs::Permissions::from_mode(0o700)).map_err(cannot)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        let partial = self.partial();
        if let Err(error) = fs::remove_dir_all(&partial) {
            tracing::warn!("cannot remove {}: {error}", partial.display());
        }
    }
}

fn unproven() -> Error {
    Error::refused("the rows of the archive were not proven")
}

fn partial_name(name: &str) -> String {
    format!(".{name}{UNFINISHED}")
}

fn exists(destination: &Path) -> Error {
    Error::refused(format!("{} is there already", destination.display()))
        .hint("an archive is never overwritten: name another folder, or move that one away")
}

fn refuse_existing(destination: &Path) -> Result<()> {
    match fs::symlink_metadata(destination) {
        Ok(_) => Err(exists(destination)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::system(format!("cannot read {}", destination.display()), error)),
    }
}

/// Refuses a folder in which no archive can be written; makes it, if there is none.
pub fn refuse_unwritable(path: &Path) -> Result<()> {
    make_folder(path)?;
    // A file without a name: nothing is left of it, whatever happens.
    tempfile::tempfile_in(path).map(drop).map_err(|error| {
        Error::system(format!("cannot write into {}", path.display()), error)
            .hint("give the role that runs pupctl the right, or name another folder with --to")
    })
}

fn make_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let cannot = |error| Error::system(format!("cannot make {}", path.display()), error);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(cannot)?;
    path.parent().filter(|above| !above.as_os_str().is_empty()).map_or(Ok(()), sync_folder)
}

/// Makes a folder, or takes the one that is there, unless somebody else works in it.
fn lock(path: &Path) -> Result<File> {
    let cannot = |error| Error::system(format!("cannot make {}", path.display()), error);
    for _ in 0..TRIES {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(cannot(error)),
            _ => {}
        }
        let folder = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            folder => folder.map_err(cannot)?,
        };
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let what = format!("another pupctl writes into {}", path.display());
                return Err(Error::new(Kind::Busy, what).hint("wait until it has finished"));
            }
            Err(error) => return Err(cannot(error.into())),
        }
        // Its owner may have removed or renamed it before the lock was free.
        let is_same = |found: fs::Metadata| {
            folder
                .metadata()
                .is_ok_and(|open| (open.dev(), open.ino()) == (found.dev(), found.ino()))
        };
        if fs::symlink_metadata(path).is_ok_and(is_same) {
            return Ok(folder);
        }
    }
    Err(cannot(io::Error::other("it vanishes again and again")))
}

fn create(path: &Path) -> Result<File> {
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::system(format!("cannot make {}", path.display()), error))
}

/// Waits until the names in a folder are on the disk.
fn sync_folder(path: &Path) -> Result<()> {
    let cannot = |error| Error::system(format!("cannot open {}", path.display()), error);
    sync(&File::open(path).map_err(cannot)?, path)
}

fn sync(folder: &File, path: &Path) -> Result<()> {
    match folder.sync_all() {
        // Some file systems of networks cannot, and need not.
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        synced => {
            synced.map_err(|error| Error::system(format!("cannot write {}", path.display()), error))
        }
    }
}

/// An archive on the disk, whose manifest was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Archive {
    /// Where it is.
    pub folder: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
}

impl Archive {
    /// Reads the manifest of an archive.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self { folder: folder.to_owned(), manifest: Manifest::read(folder)? })
    }

    /// The name of the archive.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or(self.folder.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The file with the rows.
    #[must_use]
    pub fn rows_path(&self) -> PathBuf {
        self.folder.join(self.manifest.format.file_name())
    }

    /// Begins to read the rows. Check the files before: what is damaged may read as anything.
    pub fn reader(&self) -> Result<Reader> {
        Reader::open(&self.rows_path(), self.manifest.format, &self.manifest.columns)
    }

    /// Whether all files are there as they were written, by their sizes and checksums. `watch` is
    /// told how many bytes more were read, and stops the work by an error.
    pub fn check_files(&self, watch: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        let sizes = self.manifest.files.iter().map(|file| self.check_size(file));
        let opened = sizes.collect::<Result<Vec<_>>>()?;
        for (file, opened) in self.manifest.files.iter().zip(opened) {
            self.check_sum(file, opened, watch)?;
        }
        Ok(())
    }

    pub(super) fn check_size(&self, file: &ArchivedFile) -> Result<File> {
        let path = self.folder.join(&file.name);
        let shown = path.display();
        let opened = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::refused(format!("{shown} is missing")).hint(TAKE_COPY));
            }
            opened => opened.map_err(|error| cannot_read(&path, error))?,
        };
        let found = opened.metadata().map_err(|error| cannot_read(&path, error))?.len();
        if found != file.bytes {
            let wanted = file.bytes;
            let what = format!("{shown} has {found} bytes, and had {wanted} when it was archived");
            return Err(Error::refused(what).hint(TAKE_COPY));
        }
        Ok(opened)
    }

    fn check_sum(
        &self,
        file: &ArchivedFile,
        opened: File,
        watch: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let path = self.folder.join(&file.name);
        let mut stopped = None;
        let sealed = checksum::of(opened, |bytes| {
            watch(bytes).map_err(|error| {
                stopped = Some(error);
                io::Error::other("stopped")
            })
        });
        let sealed = match (sealed, stopped) {
            (_, Some(error)) => return Err(error),
            (sealed, None) => sealed.map_err(|error| cannot_read(&path, error))?,
        };
        if sealed.sha256 != file.sha256 {
            let what = format!("{} is not as it was archived: its SHA-256 differs", path.display());
            return Err(Error::refused(what)
                .detail(format!("SHA-256: {}, must be {}", sealed.sha256, file.sha256))
                .hint(TAKE_COPY));
        }
        Ok(())
    }

    /// Checks the files, reads all rows back and compares them with the manifest. `watch` is told
    /// how many rows were read.
    pub fn verify(&self, watch: &mut dyn FnMut(u64) -> Result<()>) -> Result<Contents> {
        self.check_files(&mut |_| watch(0))?;
        let path = self.rows_path();
        let manifest = &self.manifest;
        let found = read::prove(&path, manifest.format, &manifest.columns, watch)?;
        let differences = found.differences(&manifest.contents());
        if differences.is_empty() {
            return Ok(found);
        }
        let what = format!("{} does not hold what {FILE} says", path.display());
        Err(Error::refused(what).details(differences).hint(TAKE_COPY))
    }
}

const TAKE_COPY: &str = "take the archive from another copy of it";

fn cannot_read(path: &Path, error: io::Error) -> Error {
    Error::system(format!("cannot read {}", path.display()), error)
}

/// Something in a folder of archives.
#[derive(Debug)]
pub enum Found {
    /// An archive whose manifest can be read.
    Archive(Box<Archive>),
    /// A folder that is none, and why.
    Problem(PathBuf, Error),
    /// One that is being written, or was left by a killed run, which the next one removes.
    Unfinished(PathBuf),
}

/// What is in a folder of archives, in the order of names. One that is not there holds nothing.
pub fn list(parent: &Path) -> Result<Vec<Found>> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| cannot_read(parent, error))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| cannot_read(parent, error))?.path();
        if path.is_dir() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths.into_iter().filter_map(found).collect())
}

fn found(path: PathBuf) -> Option<Found> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    if name.starts_with('.') {
        return name.ends_with(UNFINISHED).then_some(Found::Unfinished(path));
    }
    Some(match Archive::open(&path) {
        Ok(archive) => Found::Archive(Box::new(archive)),
        Err(error) => Found::Problem(path, error),
    })
}
