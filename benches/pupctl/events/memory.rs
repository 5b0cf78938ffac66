//! The memory of an import, which must depend neither on the file nor on the store.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::machine::{Database, Machine};
use crate::report::table;

use super::generator::Shape;
use super::{Files, mebibytes, store, text};

/// What pupctl may hold at most, in MiB.
const LIMIT: u64 = 100;

/// Months that make 1952 leaves of 16 hash partitions.
const MANY_MONTHS: i32 = 122;

pub(super) fn run(machine: &Machine, files: &Files, file: &Path, shape: Shape) -> Result<()> {
    let large = Shape { aggregates: shape.aggregates * 4, ..shape };
    let spread = Shape { months: MANY_MONTHS, ..shape };
    let single = Shape { aggregates: shape.aggregates * 20, events_each: 1, ..shape };
    let mut rows = vec![row(machine, "base", "context,month", shape, file)?];
    for (name, layout, shape) in [
        ("large", "context,month", large),
        ("spread", "hash,month", spread),
        ("single_events", "context,month", single),
    ] {
        let path = files.generate("memory.ndjson", shape)?;
        rows.push(row(machine, name, layout, shape, &path)?);
    }
    table(
        "Peak memory of events import",
        &["events", "aggregates", "file", "layout", "leaves", "peak"],
        &rows,
    );
    Ok(())
}

fn row(
    machine: &Machine,
    name: &str,
    layout: &str,
    shape: Shape,
    file: &Path,
) -> Result<Vec<String>> {
    let database = store(machine, &format!("memory_{name}"), layout)?;
    let arguments = ["events", "import", text(file)?, "--create-partitions"];
    let peak = database.peak_memory(&arguments)?.map(|bytes| bytes.div_ceil(1024 * 1024));
    ensure!(peak < Some(LIMIT), "the import of {name} held {peak:?} MiB, the limit is {LIMIT}");
    Ok(vec![
        shape.events().to_string(),
        shape.aggregates.to_string(),
        format!("{} MiB", mebibytes(file)?),
        layout.to_owned(),
        leaves(&database)?.to_string(),
        peak.map_or_else(|| "the system does not tell".to_owned(), |peak| format!("{peak} MiB")),
    ])
}

fn leaves(database: &Database) -> Result<i64> {
    let count = "SELECT count(*) FROM pg_partition_tree('events') WHERE isleaf";
    Ok(database.client()?.query_one(count, &[])?.get(0))
}
