//! `pupctl doctor`

mod look;
mod report;

use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;

use crate::catalog::health::Keeps;
use crate::cli::argument::duration;
use crate::cli::config::Config;
use crate::cli::exit::Exit;
use crate::command::context::{Context, Store};
use crate::command::failure;
use crate::error::{Error, Kind, Result};
use crate::finding::{self, Finding};

use report::Report;

/// How long transactions may be open, and projections be behind, unless told otherwise.
const PATIENCE: TimeDelta = TimeDelta::minutes(5);

/// Look at everything that may be wrong with a store, and say what mends it
///
/// The server and its settings, the clock, the rights of the role, the sequence of positions,
/// partitions, keys and guard, indexes, drift from the layout, the lock table now and in two years,
/// statistics, open transactions, replication slots, projections, unfinished operations and
/// archives: what partitions check and schema verify find, and all that they do not look at. Reads
/// only, and works on a store that is not pupctl's too.
///
/// Each finding has a name, which docs/reference/findings.md explains.
///
/// Examples:
///   pupctl doctor
///   pupctl doctor --verbose
///   pupctl --quiet doctor --exit-code
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DoctorArgs {
    /// Exit with 3 when a problem is found; notices are none
    #[arg(long)]
    exit_code: bool,

    /// How long transactions may be open, and projections be behind, before it is a problem
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    patience: Duration,
}

pub(super) fn run(args: &DoctorArgs, context: &Context) -> anyhow::Result<Exit> {
    let patience = TimeDelta::from_std(args.patience)
        .map_err(|_| Error::invalid("--patience is longer than any transaction"))?;
    let report = match context.open().map_err(failure) {
        Ok(mut store) => {
            let keeps = keeps(&context.config)?;
            let (catalog, health) = look::look(context, &mut store, patience, keeps)?;
            let layout = catalog.layout.as_ref();
            let findings = finding::examine(layout, &catalog, &health)?;
            Report::of(&catalog, &health, findings)
        }
        // A pooler in the way, or a server that is too old: nothing else can be looked at.
        Err(error) if error.kind() == Kind::Refused => Report::refused(&error),
        Err(error) => return Err(error.into()),
    };
    let output = &context.output;
    let text = report.text(context.global.verbose > 0);
    output.result(context.name, &report, &text)?;
    let last = report.last();
    output.say(&last);
    let found = report.problems > 0 && args.exit_code;
    Ok(if found { output.found(&format!("{text}{last}")) } else { Exit::Done })
}

/// All that is found, for whoever shows it in another way.
pub(in crate::command) fn findings(context: &Context, store: &mut Store) -> Result<Vec<Finding>> {
    let (catalog, health) = look::look(context, store, PATIENCE, keeps(&context.config)?)?;
    finding::examine(catalog.layout.as_ref(), &catalog, &health)
}

/// How long events are to stay, as the configuration says.
pub(in crate::command) fn keeps(config: &Config) -> Result<Keeps> {
    let own = config.contexts.iter().filter(|known| known.retention.is_some());
    let own = own.map(|known| Ok((known.name.clone(), config.retention(Some(&known.name))?)));
    Ok(Keeps { all: config.retention(None)?, contexts: own.collect::<Result<_>>()? })
}
