//! `pupctl projections resume`

use clap::Args;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::projection::control::pause::{self, Which};

use super::steer::{Opened, PatienceArgs, open, report, steer};

/// Let projections go on that were paused
///
/// Workers that are connected go on by themselves.
///
/// Examples:
///   pupctl projections resume order_totals
///   pupctl projections resume --all
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    override_usage = "pupctl projections resume [OPTIONS] <NAME>...\n       \
        pupctl projections resume [OPTIONS] --all"
)]
pub struct ResumeArgs {
    /// The projections
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<String>,

    /// All projections of the store
    #[arg(long, conflicts_with = "names")]
    all: bool,

    #[command(flatten)]
    patience: PatienceArgs,
}

pub(super) fn run(args: &ResumeArgs, context: &Context) -> anyhow::Result<Exit> {
    let which = if args.all { Which::All } else { Which::Named(args.names.clone()) };
    let Opened { mut client, tables, .. } = open(context, true)?;
    let steered = steer(context, &mut client, args.patience.patience, None, &mut |transaction| {
        pause::resume(transaction, &tables, &which)
    })?;
    let done = format!("{} resumed", steered.projections.join(", "));
    Ok(report(context, &steered, &done, "not paused")?)
}
