//! The lock budget: what the server's lock table holds, and what a store of so many leaves asks
//! of it.
//!
//! A statement that cannot leave out partitions locks every leaf and every index. When the lock
//! table is full the server answers "out of shared memory", to everybody. So pupctl compares
//! before it makes anything: leaves × (1 + indexes) against `max_locks_per_transaction` ×
//! (`max_connections` + `max_prepared_transactions`).

use crate::catalog::{Catalog, Server};
use crate::error::{Error, Result};
use crate::layout::Role;

/// The most partitions that are made in one transaction.
pub const PARTITIONS_PER_TRANSACTION_MAX: usize = 50;

/// Locks that making one partition takes: the table, its TOAST table and that one's index, its
/// indexes and the parent's that they are attached to, each once.
pub const LOCKS_PER_NEW_PARTITION: usize = 14;

/// `check` warns from this share of the lock table on, in percent.
pub const WARN_PERCENT: usize = 50;

/// How many partitions one transaction may make on this server: 50, or fewer where the lock
/// table is small. Half of the table is left to everybody else.
pub fn partitions_per_transaction(server: &Server) -> Result<usize> {
    let affordable = server.lock_table() / 2 / LOCKS_PER_NEW_PARTITION;
    if affordable == 0 {
        return Err(Error::refused(format!(
            "the server's lock table holds {} locks, too few to make a partition",
            server.lock_table()
        ))
        .hint(raise(server, 4 * LOCKS_PER_NEW_PARTITION)));
    }
    Ok(affordable.min(PARTITIONS_PER_TRANSACTION_MAX))
}

/// Refuses new leaves that would leave a table which no statement can open as a whole. When they
/// fill a large part of the lock table, gives back what the user should know.
pub fn refuse_too_many(catalog: &Catalog, role: Role, new_leaves: usize) -> Result<Option<String>> {
    // A new leaf takes over what was added to the others.
    let leaves = catalog.table(role).into_iter().flat_map(|table| table.root.leaves());
    let indexes = leaves.map(|leaf| leaf.indexes.len()).max().unwrap_or_default();
    let indexes = indexes.max(role.indexes_per_leaf());
    let locks = catalog.locks_of(role) + new_leaves * (1 + indexes);
    let capacity = catalog.server.lock_table();
    if new_leaves == 0 || locks * 100 < capacity * WARN_PERCENT {
        return Ok(None);
    }
    if locks <= capacity {
        return Ok(Some(format!(
            "one statement that opens all partitions will take {locks} of the server's {capacity} \
             locks: {}",
            raise(&catalog.server, locks)
        )));
    }
    let leaves = catalog.table(role).map_or(0, |table| table.root.leaves().count()) + new_leaves;
    let table = match role {
        Role::Events => "events",
        Role::Heads => "aggregate heads",
    };
    Err(Error::refused(format!(
        "{leaves} leaves of the {table} table would need {locks} locks in a statement that opens \
         all of them; the server's lock table holds {capacity}"
    ))
    .hint(format!(
        "{}; or choose fewer months, contexts or hash partitions",
        raise(&catalog.server, locks)
    )))
}

/// The setting that the server would need for so many locks, in words.
#[must_use]
pub fn raise(server: &Server, locks: usize) -> String {
    format!(
        "set max_locks_per_transaction = {} in postgresql.conf and restart the server",
        needed(server, locks)
    )
}

/// `max_locks_per_transaction` for so many locks and as many for everybody else, so that `check`
/// has nothing to warn of any more, rounded up to the next multiple of 64.
#[must_use]
pub fn needed(server: &Server, locks: usize) -> usize {
    let sessions = (server.max_connections + server.max_prepared_transactions).max(1);
    (locks * 100 / WARN_PERCENT + 1).div_ceil(sessions).next_multiple_of(64)
}
