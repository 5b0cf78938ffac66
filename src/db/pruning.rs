//! Which partitions a read would touch: the server plans it and does not run it.

use std::collections::BTreeSet;

use postgres::{Row, Transaction};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::render::read::Read;

/// What a plan of a read takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pruned {
    /// The tables that it would read.
    #[serde(skip)]
    pub tables: BTreeSet<String>,
    /// The indexes that it would read.
    #[serde(skip)]
    pub indexes: BTreeSet<String>,
    /// How many partitions it leaves out when it begins, which were planned.
    pub removed_at_start: u64,
    /// The locks on tables, partitions and branches included.
    pub table_locks: i64,
    /// The locks on indexes.
    pub index_locks: i64,
    /// How long planning took, in milliseconds.
    pub planning_ms: f64,
}

/// A read planned in both ways.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// With its values, as most reads are planned each time.
    pub custom: Pruned,
    /// Once for all values, as a prepared statement may be; none for a read without values.
    pub generic: Option<Pruned>,
}

/// Plans a read, in a transaction that is rolled back by whoever began it.
pub fn explain(transaction: &mut Transaction<'_>, read: &Read) -> Result<Explained> {
    let explain = read.explain();
    // The first time fills the session's caches, which a reader's session has full.
    measure(transaction, &explain)?;
    let custom = measure(transaction, &explain)?;
    if read.conditions.is_empty() {
        return Ok(Explained { custom, generic: None });
    }
    let sql = "SET LOCAL plan_cache_mode = force_generic_plan";
    transaction.batch_execute(sql).map_err(failed)?;
    // What is prepared stays when the transaction does not; the lock on the table goes with it.
    let mut inner = transaction.transaction().map_err(failed)?;
    inner.batch_execute(&read.prepare()).map_err(failed)?;
    inner.rollback().map_err(failed)?;
    let explain = read.explain_prepared();
    // The first time makes the plan, the second one takes it.
    measure(transaction, &explain)?;
    let mut generic = measure(transaction, &explain)?;
    // Of a plan that is there only the run locks indexes, those that it reads.
    generic.index_locks = i64::try_from(generic.indexes.len()).unwrap_or(i64::MAX);
    transaction.batch_execute("DEALLOCATE pupctl_explain").map_err(failed)?;
    Ok(Explained { custom, generic: Some(generic) })
}

fn failed(error: postgres::Error) -> Error {
    Error::database("asking how the read would be run", error)
}

/// Plans once; the locks are given back, so that the next time counts its own.
fn measure(transaction: &mut Transaction<'_>, explain: &str) -> Result<Pruned> {
    let mut inner = transaction.transaction().map_err(failed)?;
    let before = locks(&mut inner)?;
    let plan: Value = inner.query_one(explain, &[]).map_err(failed)?.get(0);
    let after = locks(&mut inner)?;
    inner.rollback().map_err(failed)?;
    let top = &plan[0];
    let mut pruned = Pruned {
        tables: BTreeSet::new(),
        indexes: BTreeSet::new(),
        removed_at_start: 0,
        table_locks: after.0 - before.0,
        index_locks: after.1 - before.1,
        planning_ms: top["Planning Time"].as_f64().unwrap_or_default(),
    };
    collect(&top["Plan"], &mut pruned);
    Ok(pruned)
}

fn locks(transaction: &mut Transaction<'_>) -> Result<(i64, i64)> {
    let counted = |row: Row| (row.get("tables"), row.get("indexes"));
    let sql = include_str!("../../sql/lock/own.sql");
    transaction.query_one(sql, &[]).map(counted).map_err(failed)
}

fn collect(node: &Value, pruned: &mut Pruned) {
    if let Some(table) = node["Relation Name"].as_str() {
        pruned.tables.insert(table.to_owned());
    }
    if let Some(index) = node["Index Name"].as_str() {
        pruned.indexes.insert(index.to_owned());
    }
    pruned.removed_at_start += node["Subplans Removed"].as_u64().unwrap_or_default();
    for below in node["Plans"].as_array().into_iter().flatten() {
        collect(below, pruned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_at_any_depth() {
        let plan = serde_json::json!({
            "Node Type": "Append", "Subplans Removed": 3, "Plans": [
                {"Node Type": "Seq Scan", "Relation Name": "a"},
                {"Node Type": "Append", "Subplans Removed": 1, "Plans": [
                    {"Node Type": "Bitmap Heap Scan", "Relation Name": "b", "Plans": [
                        {"Node Type": "Bitmap Index Scan", "Index Name": "i"}]}]}]
        });
        let mut pruned = Pruned {
            tables: BTreeSet::new(),
            indexes: BTreeSet::new(),
            removed_at_start: 0,
            table_locks: 0,
            index_locks: 0,
            planning_ms: 0.0,
        };
        collect(&plan, &mut pruned);
        assert_eq!(pruned.tables.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(pruned.indexes.into_iter().collect::<Vec<_>>(), ["i"]);
        assert_eq!(pruned.removed_at_start, 4);
    }
}
