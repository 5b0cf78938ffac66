//! The digest of rows: a sum that the server computes over a table, and pupctl over a file.
//!
//! The hash of a row is that of its fields as PostgreSQL sends a record (`record_send`: the number
//! of columns, and for each the type's oid, the length, the bytes), with PostgreSQL's own
//! `hash_bytes_extended`. In SQL:
//!
//! ```sql
//! sum(hash_record_extended(ROW(record_send(ROW(c1, c2, …))), 0))
//! ```
//!
//! modulo 2^64. A sum does not depend on the order of rows, and sees a row that is there twice,
//! which an exclusive or does not. The bytes that are sent tell apart what compares as equal, such
//! as -0.0 and 0.0; numbers of type `numeric` travel as text, so 1.0 and 1.00 differ too.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;

use super::column::Column;
use super::wire::Row;

/// What the digest is called in manifests.
pub const ALGORITHM: &str = "sum of hash_record_extended over record_send, modulo 2^64";

/// A digest of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub u64);

/// Sixteen hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        let is_digest = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_digest.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        let wrong = || Error::invalid(format!("`{text}` is not a digest of 16 hexadecimal digits"));
        number.map(Self).ok_or_else(wrong)
    }
}

/// Hashes rows one after the other.
#[derive(Debug)]
pub(super) struct Hasher {
    /// The oids of the columns, as they stand in a record.
    oids: Vec<[u8; 4]>,
    record: Vec<u8>,
}

impl Hasher {
    pub(super) fn new(columns: &[Column]) -> Self {
        let oids = columns.iter().map(|column| column.carrier.oid().to_be_bytes()).collect();
        Self { oids, record: Vec::new() }
    }

    /// The hash of a row, which is added to a digest.
    pub(super) fn hash(&mut self, row: Row<'_>) -> u64 {
        self.record.clear();
        let count = i32::try_from(self.oids.len()).unwrap_or(i32::MAX);
        self.record.extend_from_slice(&count.to_be_bytes());
        for (oid, field) in self.oids.iter().zip(row.sent_fields()) {
            self.record.extend_from_slice(oid);
            self.record.extend_from_slice(field);
        }
        hash_bytes(&self.record)
    }
}

/// `hash_bytes_extended(bytes, 0)` of PostgreSQL's `src/common/hashfn.c`, which is Bob Jenkins'
/// lookup3 with other constants, as machines with little-endian numbers compute it.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    // The length counts modulo 2^32, as in C.
    #[allow(clippy::cast_possible_truncation)]
    let start = 0x9e37_79b9_u32.wrapping_add(bytes.len() as u32).wrapping_add(3_923_095);
    let (mut a, mut b, mut c) = (start, start, start);
    let (blocks, rest) = bytes.as_chunks::<12>();
    for block in blocks {
        let [first, second, third] = words(block);
        a = a.wrapping_add(first);
        b = b.wrapping_add(second);
        c = c.wrapping_add(third);
        (a, b, c) = mix(a, b, c);
    }
    let mut last = [0; 12];
    last[..rest.len()].copy_from_slice(rest);
    let [first, second, third] = words(&last);
    a = a.wrapping_add(first);
    b = b.wrapping_add(second);
    // The lowest byte is that of the length.
    c = c.wrapping_add(third << 8);
    (b, c) = finish(a, b, c);
    u64::from(b) << 32 | u64::from(c)
}

fn words(block: &[u8; 12]) -> [u32; 3] {
    let (words, _) = block.as_chunks::<4>();
    [words[0], words[1], words[2]].map(u32::from_le_bytes)
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    (a, b, c)
}

fn finish(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32) {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    (b, c)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SELECT hash_record_extended(ROW(…::bytea), 0)`, the same on 14 to 18.
    #[test]
    fn hashes_are_those_of_the_server() {
        for (bytes, hash) in [
            ("", -6_939_563_903_564_495_251),
            ("a", 3_591_986_179_850_072_241),
            ("0123456789abcdef", -8_138_476_988_306_395_299),
        ] {
            assert_eq!(hash_bytes(bytes.as_bytes()).cast_signed(), hash, "{bytes}");
        }
    }

    #[test]
    fn digests_are_written_and_read() {
        let digest = Digest(0x0123_4567_89ab_cdef);
        assert_eq!(digest.to_string(), "0123456789abcdef");
        assert_eq!(Digest::try_from(digest.to_string()).expect("a digest"), digest);
        for wrong in ["", "123", "0123456789abcdeg", "+123456789abcdef"] {
            assert!(Digest::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
