//! The format `copy`: the stream of a binary COPY, compressed as one frame of zstd with a checksum.

use std::fs::File;
use std::io::{self, BufReader, Write};

use zstd::stream::{read, write};

use super::checksum::{Sealed, Sink};
use super::source::{BATCH_BYTES, Source};
use super::wire::{Batch, HEADER, TRAILER};

/// Faster than zstd's usual 3, and events become smaller: COPY repeats itself at short distances.
/// For the same reason neither a larger window nor long-distance matching buys anything (0.3 % of
/// the size for 1.3 times the time), nor do threads of zstd beside the one that it has.
pub(super) const LEVEL: i32 = 1;

/// Writes the stream.
pub(super) struct Encoder {
    encoder: write::Encoder<'static, Sink>,
}

impl Encoder {
    pub(super) fn new(sink: Sink, level: i32) -> io::Result<Self> {
        let mut encoder = write::Encoder::new(sink, level)?;
        encoder.include_checksum(true)?;
        encoder.write_all(HEADER)?;
        Ok(Self { encoder })
    }

    pub(super) fn batch(&mut self, batch: &Batch) -> io::Result<()> {
        self.encoder.write_all(&batch.bytes)
    }

    pub(super) fn finish(mut self) -> io::Result<Sealed> {
        self.encoder.write_all(&TRAILER)?;
        self.encoder.finish()?.seal()
    }
}

/// Reads the stream back.
pub(super) struct Decoder {
    source: Source<BufReader<read::Decoder<'static, BufReader<File>>>>,
}

impl Decoder {
    pub(super) fn new(file: File, columns: usize) -> io::Result<Self> {
        let decoder = read::Decoder::new(file)?;
        let reader = BufReader::with_capacity(BATCH_BYTES / 4, decoder);
        Ok(Self { source: Source::new(reader, columns) })
    }

    pub(super) fn next(&mut self, spare: Vec<u8>) -> io::Result<Option<Batch>> {
        self.source.next(spare)
    }
}
