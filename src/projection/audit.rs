//! What a projection was given: noted with every batch, to be compared with the store later.
//!
//! Positions are taken in blocks of 1,024. Of a block a row says which positions were given, as
//! bits, how many events that was, and the sum of the hashes of their ids
//! (`uuid_hash_extended(event_id, 0)`). Bits are joined and the rest is added, so the order of
//! batches does not matter, nor which slot had an event. An event that went to the dead letters
//! counts as given: it is accounted for.

use bytes::{BufMut, BytesMut};
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::archive::digest::hash_bytes;

use super::definition::Event;

/// How many positions a block has.
pub(super) const BLOCK: i64 = 1024;

/// The block of a position.
pub(super) fn block_of(position: i64) -> i64 {
    position.div_euclid(BLOCK)
}

/// Which positions of a block, the first bit for the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bits([u8; 128]);

impl Default for Bits {
    fn default() -> Self {
        Self([0; 128])
    }
}

impl Bits {
    /// Adds a position.
    pub(super) fn add(&mut self, position: i64) {
        let (byte, bit) = Self::place(position);
        self.0[byte] |= bit;
    }

    /// Whether a position is among them.
    pub(super) fn has(&self, position: i64) -> bool {
        let (byte, bit) = Self::place(position);
        self.0[byte] & bit != 0
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }

    /// The positions of a block behind one and up to another.
    pub(super) fn between(block: i64, after: i64, up_to: i64) -> Self {
        let mut all = Self::default();
        let first = block.saturating_mul(BLOCK);
        let last = up_to.min(first.saturating_add(BLOCK - 1));
        for position in first.max(after.saturating_add(1))..=last {
            all.add(position);
        }
        all
    }

    /// What both have.
    pub(super) fn and(&self, other: &Self) -> Self {
        self.with(other, |own, other| own & other)
    }

    /// What the other one has not.
    pub(super) fn without(&self, other: &Self) -> Self {
        self.with(other, |own, other| own & !other)
    }

    /// The positions, where they are those of a block.
    pub(super) fn positions(&self, block: i64) -> impl Iterator<Item = i64> + '_ {
        let first = block.saturating_mul(BLOCK);
        (first..first.saturating_add(BLOCK)).filter(|&position| self.has(position))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|&byte| byte == 0)
    }

    fn with(&self, other: &Self, join: impl Fn(u8, u8) -> u8) -> Self {
        let mut joined = Self::default();
        for (byte, (own, other)) in joined.0.iter_mut().zip(self.0.iter().zip(&other.0)) {
            *byte = join(*own, *other);
        }
        joined
    }

    fn place(position: i64) -> (usize, u8) {
        let within = usize::try_from(position.rem_euclid(BLOCK)).unwrap_or(0);
        (within / 8, 0x80 >> (within % 8))
    }
}

impl ToSql for Bits {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_i32(1024);
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::BIT | Type::VARBIT)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Bits {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let bits = raw.get(4..).and_then(|bytes| <[u8; 128]>::try_from(bytes).ok());
        bits.map(Self).ok_or_else(|| "not 1024 bits".into())
    }

    fn accepts(ty: &Type) -> bool {
        <Self as ToSql>::accepts(ty)
    }
}

/// What a batch gave, block by block.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) blocks: Vec<i64>,
    pub(super) bits: Vec<Bits>,
    pub(super) events: Vec<i64>,
    sums: Vec<i128>,
}

impl Given {
    /// Of events with the hashes of their ids, in the order of their positions.
    pub(super) fn of(given: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut all = Self::default();
        for (position, hash) in given {
            all.add(position, hash);
        }
        all
    }

    /// Of events.
    pub(super) fn of_events(events: &[Event]) -> Self {
        Self::of(events.iter().map(|event| (event.global_position, hash(event))))
    }

    fn add(&mut self, position: i64, hash: i64) {
        let block = block_of(position);
        if self.blocks.last() != Some(&block) {
            self.blocks.push(block);
            self.bits.push(Bits::default());
            self.events.push(0);
            self.sums.push(0);
        }
        if let (Some(bits), Some(events), Some(sum)) =
            (self.bits.last_mut(), self.events.last_mut(), self.sums.last_mut())
        {
            bits.add(position);
            *events += 1;
            *sum += i128::from(hash);
        }
    }

    /// The sums, as the server takes them.
    pub(super) fn digests(&self) -> Vec<String> {
        self.sums.iter().map(ToString::to_string).collect()
    }
}

/// `uuid_hash_extended(event_id, 0)`.
pub(super) fn hash(event: &Event) -> i64 {
    hash_bytes(event.event_id.as_bytes()).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_noted_by_their_blocks() {
        let given = Given::of([(1, 5), (1023, 7), (1024, -3), (5000, i64::MAX), (5001, i64::MAX)]);
        assert_eq!(given.blocks, [0, 1, 4]);
        assert_eq!(given.events, [2, 1, 2]);
        assert_eq!(given.digests(), ["12", "-3", "18446744073709551614"]);
        assert!(given.bits[0].has(1) && given.bits[0].has(1023) && !given.bits[0].has(2));
        assert_eq!(given.bits[2].count(), 2);
    }

    #[test]
    fn bits_are_cut_and_compared() {
        let of = |bits: &Bits, block| bits.positions(block).collect::<Vec<_>>();
        let edge = Bits::between(1, 2040, 5000);
        assert_eq!(of(&edge, 1), (2041..2048).collect::<Vec<_>>());
        assert_eq!(Bits::between(1, 0, 5000).count(), 1024);
        assert!(Bits::between(1, 3000, 5000).is_empty());
        let lower = Bits::between(1, 0, 2042);
        assert_eq!(of(&edge.and(&lower), 1), [2041, 2042]);
        assert_eq!(of(&edge.without(&lower), 1), (2043..2048).collect::<Vec<_>>());
    }
}
