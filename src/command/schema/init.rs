//! `pupctl schema init`

use clap::Args;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::write::{made, report, write};
use crate::finding;
use crate::plan;

use super::layout_args::LayoutArgs;

/// Make the tables of the store and their first partitions
///
/// Makes events, aggregate_heads and projection_checkpoints, with keys on every leaf and a BRIN
/// index on created_at, then the partitions that the layout names. The parents are migrations
/// with a history; the layout is stored, and later commands read it. A second run says that
/// there is nothing to do; an interrupted one is finished by running it again.
///
/// Examples:
///   pupctl schema init --partition-by context --contexts Identity,Billing,Analytics
///   pupctl schema init --partition-by context,month --months 6 --dry-run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct InitArgs {
    #[command(flatten)]
    layout: LayoutArgs,
}

pub(super) fn run(args: &InitArgs, context: &Context) -> anyhow::Result<Exit> {
    args.layout.check(&context.config)?;
    let (_, changes) = write(context, |catalog| {
        finding::detach::refuse_pending(catalog)?;
        let layout = args.layout.layout(&context.config, Some(catalog))?;
        let months = plan::ensure::months(catalog, layout.months_ahead, None)?;
        plan::init::plan(&layout, catalog, &months)
    })?;
    let done = format!("the store is ready; {}", made(&changes));
    Ok(report(context, &changes, &done, "Nothing to do: the store is as the layout says")?)
}
