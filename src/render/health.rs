//! Statements that mend what `pupctl doctor` finds, as people run them: with semicolons.

use crate::layout::name::QualifiedName;

use super::environment::values;
use super::{quote, statement};

/// A sequence that gives every number once, in order.
#[must_use]
pub fn sequence(sequence: &QualifiedName) -> String {
    statement("health/sequence", &values! { sequence })
}

/// The right to see how far a sequence is.
#[must_use]
pub fn grant_sequence(sequence: &QualifiedName, role: &str) -> String {
    statement("health/grant_sequence", &values! { sequence, role })
}

/// A sequence that goes on after this position, and never back: it may have gone on meanwhile.
#[must_use]
pub fn set_sequence(table: &QualifiedName, position: i64) -> String {
    let sequence = quote::table(table);
    statement("health/set_sequence", &values! { sequence, position, table })
}

/// `VACUUM (FREEZE)`, after which a table is young again.
#[must_use]
pub fn freeze(table: &QualifiedName) -> String {
    statement("health/freeze", &values! { table })
}

/// Autovacuum of a table, where it was switched off.
#[must_use]
pub fn autovacuum(table: &QualifiedName) -> String {
    statement("health/autovacuum", &values! { table })
}

/// Statistics of a table with partitions, which autovacuum does not gather. `only`, where the
/// server can leave the partitions out.
#[must_use]
pub fn analyze(table: &QualifiedName, only: bool) -> String {
    statement("table/analyze", &values! { table, only })
}

/// The end of a prepared transaction that nobody will commit.
#[must_use]
pub fn rollback_prepared(name: &str) -> String {
    statement("health/rollback_prepared", &values! { name })
}

/// The end of a session.
#[must_use]
pub fn terminate(pid: i32) -> String {
    statement("health/terminate", &values! { pid })
}
