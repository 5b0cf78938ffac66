//! What pupctl's work on partitions costs, beside plain SQL for the same work in the same run:
//! `scripts/bench [--quick] [catalog] [live]`.
//!
//! Figures are ratios, because both sides meet the same machine. What does not depend on time,
//! the number of queries and the locks, is asserted.

mod catalog;
mod live;
mod machine;
mod report;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::machine::Machine;
use crate::report::say;

/// What is measured, by name.
const NAMES: [&str; 2] = ["catalog", "live"];

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
            name if NAMES.contains(&name) => names.push(name.to_owned()),
            other => bail!("no such measurement: {other}; there are {}", NAMES.join(", ")),
        }
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|given| given == name);
    let machine = Machine::start()?;
    if wanted("catalog") {
        catalog::run(&machine, quick)?;
    }
    if wanted("live") {
        live::run(&machine, quick)?;
    }
    Ok(())
}
