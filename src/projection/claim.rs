//! Slots that a worker has claimed.

use postgres::Row;

use super::ahead::Group;

/// Slots that stand at one position, claimed.
pub(super) struct Claim {
    pub(super) group: Group,
    pub(super) position: i64,
    /// The transaction that holds their locks.
    pub(super) transaction: String,
    /// They may not move beyond it in this batch.
    pub(super) bound: i64,
    pub(super) parked: bool,
    pub(super) replay: bool,
}

/// Of the slots that were claimed, those that stand at the lowest position, or of which dead
/// letters are to be handled once more. They may go as far as the next ones stand: there they join
/// them, and one reading serves all.
pub(super) fn together(rows: &[Row], settled: i64) -> Claim {
    let position = |row: &Row| row.get::<_, i64>("position");
    let replays = |row: &&Row| row.get::<_, bool>("replay");
    let replay = rows.iter().any(|row| replays(&row));
    let candidates = || rows.iter().filter(|row| !replay || replays(row));
    let lowest = candidates().map(position).min().unwrap_or(0);
    let members: Vec<&Row> = candidates().filter(|row| position(row) == lowest).collect();
    let mut bound = settled;
    for row in rows {
        if position(row) > lowest {
            bound = bound.min(position(row));
        }
    }
    for row in &members {
        bound = bound.min(row.get::<_, Option<i64>>("drain_to").unwrap_or(i64::MAX));
    }
    let mut slots: Vec<i32> = members.iter().map(|row| row.get("slot")).collect();
    slots.sort_unstable();
    let first = members.first();
    let of = first.map_or(1, |row| row.get::<_, i32>("slots"));
    Claim {
        group: Group {
            epoch: first.map_or(0, |row| row.get("epoch")),
            of: u32::try_from(of).unwrap_or(1),
            hash: first.map_or_else(String::new, |row| row.get("slot_hash")),
            slots,
        },
        position: lowest,
        transaction: first.map_or_else(String::new, |row| row.get("transaction")),
        bound: bound.max(lowest),
        parked: members.iter().any(|row| row.get("parked")),
        replay,
    }
}
