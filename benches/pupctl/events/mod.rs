//! Events from files and to files: how fast beside psql's `\copy`, and in how much memory.

mod export;
mod generator;
mod import;
mod memory;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::machine::{Database, Machine, contexts};

use generator::Shape;

/// The columns that both sides fill or read.
const COLUMNS: &str = "\
    bounded_context, aggregate_type, aggregate_id, aggregate_version, event_id, event_type, \
    event_version, payload, trace_id, correlation_id, causation_id, metadata, created_at";

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let scale = if quick { 10 } else { 1 };
    let shape = Shape { aggregates: 50_000 / scale, events_each: 10, months: 24 };
    let rounds = 3;
    let files = Files::new()?;
    let file = files.generate("events.ndjson", shape)?;
    let store = import::run(machine, &files, &file, shape, rounds)?;
    export::run(&store, &files, rounds)?;
    memory::run(machine, &files, &file, shape)
}

/// The files of the measurements, gone at the end.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn generate(&self, name: &str, shape: Shape) -> Result<PathBuf> {
        let path = self.path(name);
        shape.write(&path)?;
        Ok(path)
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path of the target folder is no text")
}

fn mebibytes(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path)?.len() / 1024 / 1024)
}

/// A new store; its partitions are made by the first import.
fn store(machine: &Machine, name: &str, layout: &str) -> Result<Database> {
    let database = machine.database(name)?;
    let mut arguments = vec!["schema", "init", "--partition-by", layout];
    let contexts = contexts(Shape::CONTEXTS).join(",");
    if layout.contains("context") {
        arguments.extend(["--contexts", &contexts]);
    }
    database.pupctl(&arguments)?;
    Ok(database)
}
