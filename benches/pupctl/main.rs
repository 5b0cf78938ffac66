//! What pupctl's work costs, beside plain SQL, psql or pgbench for the same work in the same run:
//! `scripts/bench [--quick] [catalog] [live] [events] [append] [guard] [reads] [brin]
//! [archive] [convert] [projections] [sql-projections]`.
//!
//! Figures are ratios, because both sides meet the same machine. What does not depend on time,
//! the number of queries, the locks and the memory, is asserted.

mod append;
mod archive;
mod brin;
mod catalog;
mod convert;
mod events;
mod guard;
mod leaving;
mod live;
mod machine;
mod projections;
mod reads;
mod report;
mod store;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::machine::Machine;
use crate::report::say;

/// Takes a server, and whether to measure in small.
type Measurement = fn(&Machine, bool) -> Result<()>;

/// What is measured, by name.
const MEASUREMENTS: [(&str, Measurement); 11] = [
    ("catalog", catalog::run),
    ("live", live::run),
    ("events", events::run),
    ("append", append::run),
    ("guard", guard::run),
    ("reads", reads::run),
    ("brin", brin::run),
    ("archive", archive::run),
    ("convert", convert::run),
    ("projections", projections::run),
    ("sql-projections", projections::sql::run),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut quick = false;
    let mut names = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => quick = true,
            // Cargo adds it.
            "--bench" => {}
            name if MEASUREMENTS.iter().any(|(known, _)| *known == name) => {
                names.push(name.to_owned());
            }
            other => {
                let known = MEASUREMENTS.map(|(name, _)| name).join(", ");
                bail!("no such measurement: {other}; there are {known}");
            }
        }
    }
    let machine = Machine::start()?;
    for (name, measure) in MEASUREMENTS {
        if names.is_empty() || names.iter().any(|given| given == name) {
            measure(&machine, quick)?;
        }
    }
    Ok(())
}
