//! The file that is imported: found, decompressed and cut into lines, at constant memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write as _};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use xxhash_rust::xxh3::Xxh3;

use crate::db::Interrupt;
use crate::error::{Error, Result};

/// The longest line that is read unless the caller says otherwise, in bytes.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// The largest window of a zstd file, as a power of two: what `zstd -19` uses four times over.
/// `--long` files need more memory than an import may take.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// Events as they are kept outside: a file, or standard input that was spooled into one.
#[derive(Debug)]
pub struct Source {
    name: String,
    file: File,
    bytes: u64,
}

impl Source {
    /// Opens a file. What cannot be read twice (a pipe) is copied into a file without a name
    /// first, which is gone when the process is.
    pub fn open(path: &Path, interrupt: &Interrupt) -> Result<Self> {
        let name = path.display().to_string();
        let fail = |error| Error::system(format!("cannot read {}", path.display()), error);
        // Opening a pipe would wait for its writer, deaf to signals.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_dir() {
            return Err(Error::invalid(format!("{name} is a folder, not a file of events")));
        }
        if metadata.is_file() {
            return Ok(Self { name, file, bytes: metadata.len() });
        }
        Self::spool(name, file, interrupt)
    }

    /// Takes what standard input has.
    pub fn standard_input(interrupt: &Interrupt) -> Result<Self> {
        Self::spool("standard input".to_owned(), io::stdin().lock(), interrupt)
    }

    fn spool(name: String, mut from: impl Read + AsFd, interrupt: &Interrupt) -> Result<Self> {
        let fail = |error: io::Error| {
            Error::system(format!("cannot keep {name} in a temporary file"), error)
                .hint("a folder with more space: set TMPDIR")
        };
        let mut file = tempfile::tempfile().map_err(fail)?;
        let mut bytes = 0;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            // A pipe may stay silent for long, and a signal alone does not end a read.
            interrupt.check()?;
            if !is_readable(&from) {
                continue;
            }
            let count = match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                read => read.map_err(fail)?,
            };
            if count == 0 {
                return Ok(Self { name, file, bytes });
            }
            file.write_all(&buffer[..count]).map_err(fail)?;
            bytes += count as u64;
        }
    }

    /// What to call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes it has, compressed as it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its lines from the first. `read` is told how many bytes of the file were read.
    pub fn lines(&self, line_bytes_max: usize, read: Arc<AtomicU64>) -> Result<Lines> {
        let fail = |error| Error::system(format!("cannot read {}", self.name), error);
        let mut file = self.file.try_clone().map_err(fail)?;
        file.rewind().map_err(fail)?;
        let counted = Counted { file, read };
        let mut reader = BufReader::with_capacity(READ_BYTES, counted);
        let start = reader.fill_buf().map_err(fail)?;
        let plain: Box<dyn Read + Send> = if start.starts_with(&[0x1f, 0x8b]) {
            Box::new(MultiGzDecoder::new(reader))
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let mut decoder = zstd::Decoder::with_buffer(reader).map_err(fail)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(fail)?;
            Box::new(decoder)
        } else {
            Box::new(reader)
        };
        Ok(Lines {
            name: self.name.clone(),
            plain,
            buffer: vec![0; 2 * READ_BYTES],
            line: 0..0,
            start: 0,
            end: 0,
            ended: false,
            number: 0,
            line_bytes_max,
            digest: Box::default(),
        })
    }
}

/// Waits for bytes, or for the end, a little while.
fn is_readable(from: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(from, PollFlags::IN)];
    let wait = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    match poll(&mut fds, Some(&wait)) {
        Ok(ready) => ready > 0,
        Err(error) => error != rustix::io::Errno::INTR,
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The lines of a source, one after the other.
#[allow(missing_debug_implementations)]
pub struct Lines {
    name: String,
    plain: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    line: Range<usize>,
    start: usize,
    end: usize,
    ended: bool,
    number: u64,
    line_bytes_max: usize,
    digest: Box<Xxh3>,
}

impl Lines {
    /// Goes to the next line; `false` after the last. Empty lines may only be last.
    pub fn advance(&mut self) -> Result<bool> {
        if !self.step()? {
            return Ok(false);
        }
        if !self.line().trim_ascii().is_empty() {
            return Ok(true);
        }
        let empty = self.number;
        while self.step()? {
            if !self.line().trim_ascii().is_empty() {
                return Err(self.problem(empty, "is empty"));
            }
        }
        self.number = empty - 1;
        Ok(false)
    }

    /// The line, without its end.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.buffer[self.line.clone()]
    }

    /// The number of the line, from 1; after the last, how many there are.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// A digest of all lines before this one, to know the same lines again.
    #[must_use]
    pub fn digest(&self) -> String {
        format!("{:032x}", self.digest.digest128())
    }

    /// What to call the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong with a line.
    #[must_use]
    pub fn problem(&self, line: u64, what: &str) -> Error {
        Error::refused(format!("{}, line {line}: {what}", self.name))
    }

    fn step(&mut self) -> Result<bool> {
        self.absorb();
        let mut searched = self.start;
        loop {
            let found = memchr::memchr(b'\n', &self.buffer[searched..self.end]);
            let (to, next) = match found {
                Some(offset) => (searched + offset, searched + offset + 1),
                None if !self.ended => {
                    self.refuse_long(self.end - self.start)?;
                    searched = self.end - self.start;
                    self.fill()?;
                    continue;
                }
                None if self.start == self.end => return Ok(false),
                None => (self.end, self.end),
            };
            self.refuse_long(to - self.start)?;
            self.number += 1;
            let mut from = self.start;
            if self.number == 1 && self.buffer[from..to].starts_with(BYTE_ORDER_MARK) {
                from += BYTE_ORDER_MARK.len();
            }
            self.line = from..to;
            self.start = next;
            return Ok(true);
        }
    }

    /// The line that was read counts for the digest when the next one is asked for. Empty lines
    /// at the end do not.
    fn absorb(&mut self) {
        let line = &self.buffer[std::mem::take(&mut self.line)];
        if !line.trim_ascii().is_empty() {
            self.digest.update(line);
            self.digest.update(b"\n");
        }
    }

    fn refuse_long(&self, bytes: usize) -> Result<()> {
        if bytes <= self.line_bytes_max {
            return Ok(());
        }
        let most = self.line_bytes_max / (1024 * 1024);
        let error = self.problem(self.number + 1, &format!("is longer than {most} MiB"));
        Err(error.hint("if it is an event all the same: --max-line, which costs as much memory"))
    }

    /// Reads more behind what is left, which moves to the front.
    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() - self.end < READ_BYTES {
            // Exactly: a buffer that doubles would cost twice the longest line.
            self.buffer.reserve_exact(self.end + READ_BYTES - self.buffer.len());
            self.buffer.resize(self.end + READ_BYTES, 0);
        }
        let count = loop {
            match self.plain.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| self.broken(error))?,
            }
        };
        self.ended = count == 0;
        self.end += count;
        Ok(())
    }

    /// A file that cannot be read on: mostly one that was not copied to its end.
    fn broken(&self, error: io::Error) -> Error {
        let after = self.number;
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::refused(format!(
                "{}: the compressed file ends in the middle, after line {after}",
                self.name
            ))
            .hint("it was not copied or written to its end: fetch it again")
            .because(error),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
                let mut told = Error::refused(format!(
                    "{}: cannot be decompressed after line {after}: {error}",
                    self.name
                ));
                if error.to_string().contains("memory") {
                    told = told.hint(format!(
                        "a window above {} MiB: import it with zstd -d --long=31 -c FILE | \
                         pupctl events import -",
                        (1_u32 << ZSTD_WINDOW_LOG_MAX) / (1024 * 1024)
                    ));
                }
                told.because(error)
            }
            _ => Error::system(format!("cannot read {} after line {after}", self.name), error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(content: &[u8]) -> Source {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(content).expect("its content");
        Source { name: "a.ndjson".to_owned(), file, bytes: content.len() as u64 }
    }

    fn read(source: &Source) -> Result<Vec<(u64, String)>> {
        let mut lines = source.lines(1024 * 1024, Arc::default())?;
        let mut all = Vec::new();
        while lines.advance()? {
            all.push((lines.number(), String::from_utf8_lossy(lines.line()).into_owned()));
        }
        Ok(all)
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("gzip");
        encoder.finish().expect("gzip")
    }

    #[test]
    fn lines_of_every_compression_and_ending() {
        let expected = [(1, "{}".to_owned()), (2, "[] ".to_owned())];
        let text = b"{}\n[] ";
        let two_members = [gzip(b"{}\n"), gzip(b"[] \n")].concat();
        for content in [
            text.to_vec(),
            b"{}\n[] \n\n \n".to_vec(),
            b"\xef\xbb\xbf{}\n[] \n".to_vec(),
            gzip(text),
            two_members,
            zstd::encode_all(text.as_slice(), 3).expect("zstd"),
        ] {
            assert_eq!(read(&source(&content)).expect("lines"), expected);
        }
        assert_eq!(read(&source(b"")).expect("no line"), []);
    }

    #[test]
    fn lines_longer_than_one_read() {
        let long = "x".repeat(3 * READ_BYTES + 17);
        let text = format!("a\n{long}\nb\n");
        let lines = read(&source(text.as_bytes())).expect("lines");
        assert_eq!(lines, [(1, "a".to_owned()), (2, long), (3, "b".to_owned())]);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        let compressed = gzip("{\"a\":1}\n".repeat(100_000).as_bytes());
        let noise = zstd::encode_all(b"{}\n".repeat(1000).as_slice(), 3).expect("zstd");
        let messages: Vec<_> = [
            b"{}\n\n{}\n".to_vec(),
            [b"{}\n".as_slice(), &b"x".repeat(1024 * 1024 + 1)].concat(),
            compressed[..compressed.len() - 5].to_vec(),
            noise[..noise.len() - 5].to_vec(),
        ]
        .iter()
        .map(|content| read(&source(content)).expect_err("a problem").message().to_owned())
        .collect();
        insta::assert_snapshot!(messages.join("\n"), @"
        a.ndjson, line 2: is empty
        a.ndjson, line 2: is longer than 1 MiB
        a.ndjson: the compressed file ends in the middle, after line 100000
        a.ndjson: the compressed file ends in the middle, after line 0
        ");
    }

    #[test]
    fn the_digest_knows_the_same_lines_again() {
        let digest = |content: &[u8]| {
            let mut lines = source(content).lines(100, Arc::default()).expect("lines");
            assert!(lines.advance().expect("a line"));
            let nothing = lines.digest();
            lines.advance().expect("another or none");
            assert_ne!(lines.digest(), nothing);
            lines.digest()
        };
        assert_eq!(digest(b"{}\n[]"), digest(&gzip(b"{}\nxx")));
        assert_ne!(digest(b"{}"), digest(b"[]"));
    }
}
