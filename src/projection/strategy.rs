//! Which slot of a projection an event belongs to.

use crate::store::StoredEvent;

/// Divides the events of a projection among its slots.
///
/// Whatever belongs together in order has to be in one slot: the events of an aggregate at least.
/// The same event must get the same slot always, in every process and version of the program, for
/// the checkpoints of the slots mean nothing else. So a strategy has a name, which is stored with
/// them, and a worker with another one refuses to start. Give a strategy that divides differently
/// another name.
///
/// ```
/// use pupctl::projection::{Event, Fnv1a, PartitionStrategy};
///
/// /// The one large tenant in the first slot, all others spread over the rest.
/// struct LargeTenantApart;
///
/// impl PartitionStrategy for LargeTenantApart {
///     fn name(&self) -> &'static str {
///         "large-tenant-apart-1"
///     }
///
///     fn slot(&self, event: &Event, slots: u32) -> u32 {
///         if slots == 1 || event.aggregate_id.starts_with("acme-") {
///             return 0;
///         }
///         1 + Fnv1a::slot_of(&event.aggregate_id, slots - 1)
///     }
/// }
/// ```
///
/// The server does not know it: a worker is sent all events of its scope and leaves out those of
/// other slots.
pub trait PartitionStrategy: Send + Sync {
    /// Its name, as it is stored with the checkpoints.
    fn name(&self) -> &str;

    /// The slot of an event: below `slots`, which is at least 1. What lies beyond belongs to no
    /// slot, and the processor fails when it meets it.
    fn slot(&self, event: &StoredEvent, slots: u32) -> u32;

    /// Whether the server divides by this strategy, so that a worker is sent the events of its own
    /// slots alone. True for [`ServerHash`] only.
    fn is_servers(&self) -> bool {
        false
    }
}

/// The hash that PostgreSQL computes, `hashtextextended(aggregate_id, 0)`: the server sends each
/// worker its own events alone. The strategy of slots that workers share out among themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerHash;

impl ServerHash {
    /// Its name.
    pub const NAME: &'static str = "hashtextextended";
}

impl PartitionStrategy for ServerHash {
    fn name(&self) -> &str {
        Self::NAME
    }

    /// Never asked.
    fn slot(&self, _event: &StoredEvent, slots: u32) -> u32 {
        slots
    }

    fn is_servers(&self) -> bool {
        true
    }
}

/// The 32-bit FNV-1a hash of the aggregate's id, modulo the number of slots: what pupsourcing's
/// workers compute with Go's `hash/fnv`, so that they and these workers mean the same by
/// `PARTITION_KEY` and `TOTAL_PARTITIONS`.
///
/// The server does not know this hash: a worker is sent all events of its scope and leaves out
/// those of other slots.
///
/// Source: G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, "The FNV Non-Cryptographic Hash
/// Algorithm".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fnv1a;

impl Fnv1a {
    /// Its name.
    pub const NAME: &'static str = "fnv1a32";

    /// The hash of a text.
    #[must_use]
    pub fn hash(text: &str) -> u32 {
        const OFFSET_BASIS: u32 = 0x811c_9dc5;
        const PRIME: u32 = 0x0100_0193;
        text.bytes().fold(OFFSET_BASIS, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(PRIME))
    }

    /// The slot of an aggregate.
    #[must_use]
    pub fn slot_of(aggregate_id: &str, slots: u32) -> u32 {
        Self::hash(aggregate_id) % slots.max(1)
    }
}

impl PartitionStrategy for Fnv1a {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn slot(&self, event: &StoredEvent, slots: u32) -> u32 {
        Self::slot_of(&event.aggregate_id, slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_reference() {
        // The vectors of the reference implementation, which Go's tests of hash/fnv use too.
        for (text, hash) in [
            ("", 0x811c_9dc5),
            ("a", 0xe40c_292c),
            ("ab", 0x4d25_05ca),
            ("abc", 0x1a47_e90b),
            ("foobar", 0xbf9c_f968),
        ] {
            assert_eq!(Fnv1a::hash(text), hash, "{text:?}");
        }
        assert_eq!(Fnv1a::hash("Bestellung-ä-1"), Fnv1a::hash("Bestellung-\u{e4}-1"));
    }

    #[test]
    fn twice_as_many_slots_divide_each_slot_in_two() {
        for id in ["order-1", "order-2", "5f2c", ""] {
            assert_eq!(Fnv1a::slot_of(id, 1), 0);
            assert_eq!(Fnv1a::slot_of(id, 8) % 4, Fnv1a::slot_of(id, 4));
        }
    }
}
