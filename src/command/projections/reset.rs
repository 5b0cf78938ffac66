//! `pupctl projections reset`

use clap::Args;

use crate::cli::argument::value;
use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::projection::control::reset::{self, Reset};
use crate::projection::control::start::{self, Start};
use crate::projection::control::status;

use super::steer::{Opened, PatienceArgs, open, report, steer, tell_holders};
use super::words;

/// Let a projection begin again, or go on after another position
///
/// All its checkpoints are set, in one transaction, and the dead letters after the position are
/// forgotten. Events after it are handled again: empty the read model too, with --truncate or by
/// yourself. Going forward leaves events out, which are counted; going back before events that are
/// in archives is refused. It waits for the batches that run at the moment. Asks (--yes).
///
/// Examples:
///   pupctl projections reset order_totals --truncate
///   pupctl projections reset order_totals --to 120000
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ResetArgs {
    /// The projection
    #[arg(value_name = "NAME")]
    name: String,

    /// Go on after this position: start, end, or a number
    #[arg(long, value_name = "POSITION", default_value = "start", value_parser = value::<Start>)]
    to: Start,

    /// Empty the tables that the projection fills, in the same transaction
    #[arg(long)]
    truncate: bool,

    /// The checkpoints of other libraries too that are called NAME or NAME_p0: stop their workers
    /// first
    #[arg(long)]
    foreign: bool,

    /// Even if events after the position have left the store: the read model is made without them
    #[arg(long)]
    allow_missing_events: bool,

    #[command(flatten)]
    patience: PatienceArgs,
}

pub(super) fn run(args: &ResetArgs, context: &Context) -> anyhow::Result<Exit> {
    let Opened { mut client, tables, .. } = open(context, true)?;
    let (patience, interrupt) = (args.patience.patience, &context.interrupt);
    let name = Some(args.name.as_str());
    let found = status::look(&mut client, &tables, name, false, interrupt)?.projections;
    let own = found.iter().filter(|found| found.slots.is_some());
    let rows = own.flat_map(|found| &found.checkpoints);
    let passed = rows.map(|row| row.checkpoint.position).max().unwrap_or(0);
    let tell = &mut tell_holders(context);
    let position = start::settle(&mut client, &tables, args.to, passed, patience, interrupt, tell)?;
    let wish = Reset {
        name: args.name.clone(),
        position,
        foreign: args.foreign,
        truncate: args.truncate,
        allow_missing_events: args.allow_missing_events,
    };
    let stake = reset::stake(&mut client, &tables, &wish).map_err(|e| interrupt.explain(e))?;
    let mut told = vec![format!(
        "{} go to position {position}{}",
        words::at_stake(&found, args.foreign, Some(stake.letters)),
        if args.truncate { ", and its tables are emptied" } else { "" },
    )];
    told.extend(stake.words(position));
    let question = format!("{}. Go on?", told.join("; "));
    let steered = steer(context, &mut client, patience, Some(&question), &mut |transaction| {
        reset::plan(transaction, &tables, &wish)
    })?;
    let done = format!("{} goes on after position {position}", args.name);
    Ok(report(context, &steered, &done, "it is there")?)
}
