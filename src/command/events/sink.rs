//! Where an export goes: a file that appears when it is complete, or a stream; compressed or not.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use flate2::write::GzEncoder;
use tempfile::TempPath;

use crate::error::{Error, Result};
use crate::failpoint::reach;

/// How much is collected before it is written.
const BUFFER_BYTES: usize = 256 * 1024;

/// How a file of events is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Compression {
    /// Not at all.
    None,
    /// As gzip does.
    Gzip,
    /// As zstd does.
    Zstd,
}

impl Compression {
    /// What the ending of a name says.
    pub(super) fn of(path: &Path) -> Self {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Where an export goes.
#[derive(Debug)]
pub(super) enum Destination {
    /// Standard output.
    Stdout,
    /// A pipe or a device, which takes what comes.
    Stream(PathBuf),
    /// A file, which must not be there yet unless it may be replaced.
    File { path: PathBuf, replace: bool },
}

impl Destination {
    /// What a name stands for; a file that is there already is refused.
    pub(super) fn of(name: &Path, overwrite: bool) -> Result<Self> {
        if name == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let found = match fs::metadata(name) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::File { path: name.to_owned(), replace: overwrite });
            }
            Err(error) => return Err(unusable(name, error)),
        };
        if found.is_dir() {
            return Err(Error::invalid(format!("{} is a folder", name.display()))
                .hint("name a file, or - for standard output"));
        }
        if !found.is_file() {
            return Ok(Self::Stream(name.to_owned()));
        }
        if !overwrite {
            return Err(Error::refused(format!("{} exists already", name.display()))
                .hint("name another file, or replace it with --overwrite"));
        }
        // What a link leads to is replaced, not the link.
        let path = fs::canonicalize(name).map_err(|error| unusable(name, error))?;
        Ok(Self::File { path, replace: true })
    }

    /// Begins to write.
    pub(super) fn open(self, compression: Compression) -> Result<Sink> {
        let (file, pending) = match self {
            Self::Stdout => (stdout()?, None),
            Self::Stream(path) => {
                let opened = File::options().write(true).open(&path);
                (opened.map_err(|error| unusable(&path, error))?, None)
            }
            Self::File { path, replace } => {
                let (file, temporary) = temporary(&path)?;
                (file, Some(Pending { temporary, path, replace }))
            }
        };
        let encoder = Encoder::new(file, compression)?;
        Ok(Sink { encoder, pending })
    }
}

/// Takes the bytes of an export. Dropped without [`Sink::finish`] it leaves no file.
pub(super) struct Sink {
    encoder: Encoder,
    pending: Option<Pending>,
}

/// A file under a name that it does not keep.
struct Pending {
    temporary: TempPath,
    path: PathBuf,
    replace: bool,
}

impl Sink {
    /// Writes what is left; a file gets its name when the disk has all of it. The size of the
    /// file, where it is one.
    pub(super) fn finish(self) -> Result<Option<u64>> {
        let cannot = |error| Error::system("cannot write the events", error);
        let file = self.encoder.finish().map_err(cannot)?;
        let Some(pending) = self.pending else { return Ok(None) };
        file.sync_all().map_err(cannot)?;
        let size = file.metadata().map_err(cannot)?.len();
        reach("export::before_rename");
        pending.rename()?;
        Ok(Some(size))
    }
}

impl Pending {
    fn rename(self) -> Result<()> {
        let Self { temporary, path, replace } = self;
        let renamed =
            if replace { temporary.persist(&path) } else { temporary.persist_noclobber(&path) };
        renamed.map_err(|error| unusable(&path, error.error))?;
        // So that the new name outlives a crash of the machine.
        File::open(folder(&path))
            .and_then(|folder| folder.sync_all())
            .map_err(|error| unusable(&path, error))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.encoder {
            Encoder::Plain(file) => file.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Nothing to do before the end: a flush would cut a compressed stream into pieces.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Encoder {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Encoder {
    fn new(file: File, compression: Compression) -> Result<Self> {
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(match compression {
            Compression::None => Self::Plain(file),
            Compression::Gzip => Self::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Compression::Zstd => Self::Zstd(
                zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)
                    .and_then(|mut encoder| encoder.include_checksum(true).map(|()| encoder))
                    .map_err(|error| Error::system("cannot begin to compress", error))?,
            ),
        })
    }

    fn finish(self) -> io::Result<File> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// Standard output without the buffer of the standard library, which writes line by line.
fn stdout() -> Result<File> {
    let stream = io::stdout().as_fd().try_clone_to_owned();
    stream.map(File::from).map_err(|error| Error::system("cannot write to standard output", error))
}

/// A file beside the one that is meant, for its owner alone.
fn temporary(path: &Path) -> Result<(File, TempPath)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".part")
        .tempfile_in(folder(path))
        .map(tempfile::NamedTempFile::into_parts)
        .map_err(|error| unusable(path, error))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn unusable(path: &Path, error: io::Error) -> Error {
    Error::system(format!("cannot write {}", path.display()), error)
}
