//! `pupctl projections pause`

use clap::Args;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::projection::control::pause::{self, Which};

use super::steer::{Opened, PatienceArgs, open, report, steer};

/// Let nobody work on projections, until they are resumed
///
/// Waits for the batches that run at the moment. When it has returned, nobody works on these
/// projections and nobody begins to, whatever workers are there: they stay connected, and look
/// again. What reads the read model goes on.
///
/// Examples:
///   pupctl projections pause order_totals
///   pupctl projections pause --all
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    override_usage = "pupctl projections pause [OPTIONS] <NAME>...\n       \
        pupctl projections pause [OPTIONS] --all"
)]
pub struct PauseArgs {
    /// The projections
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<String>,

    /// All projections of the store
    #[arg(long, conflicts_with = "names")]
    all: bool,

    #[command(flatten)]
    patience: PatienceArgs,
}

pub(super) fn run(args: &PauseArgs, context: &Context) -> anyhow::Result<Exit> {
    let which = if args.all { Which::All } else { Which::Named(args.names.clone()) };
    let Opened { mut client, tables, .. } = open(context, true)?;
    let steered = steer(context, &mut client, args.patience.patience, None, &mut |transaction| {
        pause::pause(transaction, &tables, &which)
    })?;
    let done = format!(
        "{} paused: nobody works on them until projections resume",
        steered.projections.join(", ")
    );
    Ok(report(context, &steered, &done, "paused already")?)
}
