//! Follows the versions of every aggregate through a file, at constant memory.
//!
//! Events of one aggregate whose versions follow each other are one *run*. What breaks a run is
//! told at once, with its line; runs go to the server when their memory is needed for others, and
//! there the checks go on across them. So a file whose aggregates fit into memory costs the server
//! one row an aggregate instead of one an event.

use std::collections::HashMap;

use super::encode::Rows;
use crate::event::model::Event;

/// How many bytes the open runs may take.
const OPEN_BYTES_MAX: usize = 24 * 1024 * 1024;

/// What an open run takes beside its key.
const RUN_BYTES: usize = 120;

/// Versions of an aggregate that follow each other.
pub(super) struct Run {
    number: i64,
    first_version: i64,
    last_version: i64,
    first_line: u64,
    last_line: u64,
}

/// The runs that are open.
pub(super) struct Runs {
    open: HashMap<Box<[u8]>, Run>,
    open_bytes: usize,
    next: i64,
    /// The key that is looked up, kept to spare an allocation for every event.
    key: Vec<u8>,
}

impl Runs {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { open: HashMap::new(), open_bytes: 0, next: 1, key: Vec::new() }
    }

    /// Adds an event. Gives back the number of its run.
    pub(super) fn add(&mut self, line: u64, event: &Event<'_>) -> Result<i64, String> {
        self.key.clear();
        // Texts hold no NUL, so it parts them.
        for part in [&event.bounded_context, &event.aggregate_type, &event.aggregate_id] {
            self.key.extend(part.as_bytes());
            self.key.push(0);
        }
        if let Some(run) = self.open.get_mut(self.key.as_slice()) {
            if event.aggregate_version != run.last_version + 1 {
                return Err(broken(run, event));
            }
            run.last_version = event.aggregate_version;
            run.last_line = line;
            return Ok(run.number);
        }
        let number = self.next;
        self.next += 1;
        self.open_bytes += self.key.len() + RUN_BYTES;
        let version = event.aggregate_version;
        self.open.insert(
            self.key.as_slice().into(),
            Run {
                number,
                first_version: version,
                last_version: version,
                first_line: line,
                last_line: line,
            },
        );
        Ok(number)
    }

    /// Whether the open runs take all the memory that they may.
    pub(super) fn is_full(&self) -> bool {
        self.open_bytes > OPEN_BYTES_MAX
    }

    /// Ends all runs; each writes itself with [`Run::encode`].
    pub(super) fn close(&mut self) -> impl Iterator<Item = (Box<[u8]>, Run)> {
        self.open_bytes = 0;
        self.open.drain()
    }
}

impl Run {
    /// Adds the run to `rows`, with the part of the file to which it belongs.
    pub(super) fn encode(&self, key: &[u8], batch: i32, rows: &mut Rows) {
        rows.row(9);
        rows.bigint(self.number);
        rows.integer(batch);
        rows.bigint(self.first_line.cast_signed());
        rows.bigint(self.last_line.cast_signed());
        for part in key.split(|byte| *byte == 0).take(3) {
            // What went into the key was text.
            rows.text(std::str::from_utf8(part).unwrap_or_default());
        }
        rows.bigint(self.first_version);
        rows.bigint(self.last_version);
    }
}

fn broken(run: &Run, event: &Event<'_>) -> String {
    let version = event.aggregate_version;
    let name = aggregate(&event.bounded_context, &event.aggregate_type, &event.aggregate_id);
    let Run { last_version, last_line, .. } = run;
    if version > *last_version {
        return format!(
            "version {version} of {name} follows version {last_version} (line {last_line}): \
             versions have no holes"
        );
    }
    if version == *last_version {
        return format!("version {version} of {name} is there twice (line {last_line} has it)");
    }
    format!("version {version} of {name} comes after version {last_version} (line {last_line})")
}

/// An aggregate in words.
pub(super) fn aggregate(context: &str, kind: &str, id: &str) -> String {
    format!("{kind} {id} in {context}")
}
