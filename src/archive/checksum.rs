//! SHA-256 of files, taken while they are written or read.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};

use ring::digest::{Context, SHA256};

/// So much is read of a file at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// A file that is being written.
pub(super) struct Sink {
    file: File,
    buffer: Vec<u8>,
    context: Context,
    bytes: u64,
}

/// What a file is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Sink {
    pub(super) fn new(file: File) -> Self {
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Self { file, buffer, context: Context::new(&SHA256), bytes: 0 }
    }

    /// Writes the rest and waits for the disk.
    pub(super) fn seal(mut self) -> io::Result<Sealed> {
        self.flush()?;
        self.file.sync_all()?;
        Ok(Sealed { bytes: self.bytes, sha256: hexadecimal(self.context.finish().as_ref()) })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.context.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Reads a file to its end. `watch` is told how many bytes more were read.
pub(super) fn of(
    mut file: impl Read,
    mut watch: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<Sealed> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let read = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok(Sealed { bytes, sha256: hexadecimal(context.finish().as_ref()) });
        }
        context.update(&buffer[..read]);
        bytes += read as u64;
        watch(read as u64)?;
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_has_the_sum_of_what_is_read() {
        let file = tempfile::tempfile().expect("a file");
        let mut sink = Sink::new(file);
        sink.write_all(b"abc").expect("written");
        let sealed = sink.seal().expect("sealed");
        assert_eq!(
            sealed.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let read = of(b"abc".as_slice(), |_| Ok(())).expect("read");
        assert_eq!(read, sealed);
    }
}
