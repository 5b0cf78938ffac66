//! Finds event ids that a file may have twice, at constant memory.
//!
//! A Bloom filter whose bits for one id lie in one cache line (Putze, Sanders, Singler: "Cache-,
//! Hash- and Space-Efficient Bloom Filters", 2007). It never misses a double; ids that it only
//! takes for one are few, and the server looks at these alone. So most files need no such look.

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

/// Bits of a block, a cache line.
const BLOCK_BITS: u64 = 512;

/// How many blocks there are: 16 MiB.
const BLOCKS: usize = 1 << 18;

/// How many bits of its block an id sets.
const BITS_PER_ID: u32 = 5;

/// More suspects than this are not listed: then the server looks at all ids.
const SUSPECTS_MAX: usize = 50_000;

/// The ids so far.
pub(super) struct Ids {
    blocks: Vec<[u64; 8]>,
    suspects: Vec<Uuid>,
}

impl Ids {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { blocks: vec![[0; 8]; BLOCKS], suspects: Vec::new() }
    }

    /// Adds an id.
    pub(super) fn add(&mut self, id: Uuid) {
        let hash = xxh3_64(id.as_bytes());
        // The upper bits choose the block, the lower ones the bits in it.
        let block = usize::try_from(hash >> 46).unwrap_or_default();
        let block = &mut self.blocks[block];
        let mut new = false;
        for bit in 0..BITS_PER_ID {
            let place = (hash >> (9 * bit)) % BLOCK_BITS;
            let word = &mut block[usize::try_from(place / 64).unwrap_or_default()];
            let mask = 1 << (place % 64);
            new |= *word & mask == 0;
            *word |= mask;
        }
        if !new && self.suspects.len() <= SUSPECTS_MAX {
            self.suspects.push(id);
        }
    }

    /// The ids that may be there twice; `None` when they are too many to be listed.
    pub(super) fn suspects(self) -> Option<Vec<Uuid>> {
        (self.suspects.len() <= SUSPECTS_MAX).then_some(self.suspects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_double_is_a_suspect_and_few_others() {
        let mut ids = Ids::new();
        // Ids that follow each other, as those of version 7 nearly do.
        for number in 0..1_000_000 {
            ids.add(Uuid::from_u128(number));
        }
        for number in [0, 7, 999_999] {
            ids.add(Uuid::from_u128(number));
        }
        let suspects = ids.suspects().expect("a list");
        for number in [0, 7, 999_999] {
            assert!(suspects.contains(&Uuid::from_u128(number)), "{number}");
        }
        assert!(suspects.len() < 100, "{}", suspects.len());
    }

    #[test]
    fn too_many_are_not_listed() {
        let mut ids = Ids::new();
        for _ in 0..SUSPECTS_MAX + 2 {
            ids.add(Uuid::nil());
        }
        assert_eq!(ids.suspects(), None);
    }
}
