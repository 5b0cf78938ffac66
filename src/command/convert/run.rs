//! `pupctl convert run`

use clap::Args;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::write;
use crate::db::inspect::Depth;
use crate::operation::convert::Outcome;
use crate::operation::convert::record::Record;

use super::report::{tell, tell_nothing, tell_swap};
use super::start::StartArgs;
use super::swap::swapped;

/// Do everything from start to swap in one go
///
/// The same as `convert start` and then `convert swap`, for pipelines. The old tables stay until
/// `convert finish`.
///
/// Examples:
///   pupctl convert run --partition-by context
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RunArgs {
    #[command(flatten)]
    start: StartArgs,
}

pub(super) fn run(args: &RunArgs, context: &Context) -> anyhow::Result<Exit> {
    let args = &args.start;
    if context.global.dry_run {
        return args.wish.dry_run(context);
    }
    let store = context.open_for_writing()?;
    let depth = Depth { sizes: true, details: true, ..Depth::default() };
    let (mut locked, catalog) = write::lock_at(context, store, depth)?;
    let done = |record: &Record| record.is_swapped();
    if let Some((record, why)) = args.wish.done(context, &mut locked, &catalog, done)? {
        locked.release()?;
        return tell_nothing(context, record.as_ref(), &why);
    }
    let (record, outcome, stall) =
        args.wish.begin(context, &mut locked, &catalog, &args.work, |converter| {
            let outcome = converter.to_ready()?;
            let stall = match outcome {
                Outcome::Done => converter.swap()?,
                Outcome::Paused => None,
            };
            Ok((converter.record.clone(), outcome, stall))
        })?;
    locked.release()?;
    match outcome {
        Outcome::Paused => tell(context, &record, outcome),
        Outcome::Done => tell_swap(context, &record, stall, &swapped(&record)),
    }
}
