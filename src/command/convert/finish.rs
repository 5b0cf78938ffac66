//! `pupctl convert finish`

use clap::Args;

use crate::cli::confirm::confirm;
use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::write;
use crate::error::Error;
use crate::operation::convert::record;
use crate::plan::convert::{Phase, Strategy};
use crate::render::Script;
use crate::render::convert as statements;

use super::dry_run;
use super::report::{tell_nothing, tell_swap};
use super::work::{WorkArgs, none, work};

/// Drop the old tables
///
/// Compares them with the new ones once more, by context and month, and refuses where an event of
/// theirs is missing or not the same. After this there is no way back.
#[derive(Debug, Args)]
pub struct FinishArgs {
    /// Go on although events have been changed or removed since the swap, and list where
    #[arg(long)]
    accept_changes: bool,

    #[command(flatten)]
    work: WorkArgs,
}

pub(super) fn run(args: &FinishArgs, context: &Context) -> anyhow::Result<Exit> {
    if context.global.dry_run {
        return dry_run::show_next(context, |_, record| match record.strategy {
            Strategy::Copy => Ok(statements::finishing(&record.target())),
            Strategy::Attach => Ok(Vec::new()),
        });
    }
    let store = context.open_for_writing()?;
    let (mut locked, catalog) = write::lock(context, store)?;
    let found = record::find(locked.client(), &catalog.schema_name)?.ok_or_else(none)?;
    if found.phase == Phase::Finished {
        locked.release()?;
        return tell_nothing(context, Some(&found), "the last conversion is finished");
    }
    if found.phase != Phase::Swapped {
        return Err(Error::refused(format!("the conversion is {}, not swapped", found.phase))
            .hint("put the new tables in place first: pupctl convert swap")
            .into());
    }
    let copied = found.strategy == Strategy::Copy;
    if copied {
        let tables: Vec<_> = found.tables.iter().map(|table| table.retired.to_string()).collect();
        let question = format!("{} will be dropped, for good. Go on?", tables.join(" and "));
        confirm(&context.output, context.global.yes, &question)?;
    }
    let record = work(
        &args.work,
        context,
        &mut locked,
        &Script::default(),
        |_| Ok(found),
        |converter| {
            converter.finish(args.accept_changes)?;
            Ok(converter.record.clone())
        },
    )?;
    locked.release()?;
    let words = if copied {
        "the old tables are dropped"
    } else if !record.after.has_month_level() {
        "the conversion is finished"
    } else {
        "the conversion is finished; divide the old table when it suits: pupctl partitions split"
    };
    tell_swap(context, &record, None, words)
}
