//! `pupctl convert swap`

use clap::Args;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::write;
use crate::error::Error;
use crate::operation::convert::planned::{Planned, Way};
use crate::operation::convert::record::Record;
use crate::plan::convert::{Phase, Strategy};
use crate::render::Script;

use super::dry_run;
use super::report::{tell_nothing, tell_swap};
use super::work::{WorkArgs, ongoing, work};

/// What is told after it.
pub(super) fn swapped(record: &Record) -> String {
    match record.strategy {
        Strategy::Copy => "the new tables are the store's; the old ones are kept until pupctl \
                           convert finish, and pupctl convert rollback brings them back"
            .to_owned(),
        Strategy::Attach => {
            let names = record.tables.iter().map(|table| table.retired.name.as_str());
            let names: Vec<_> = names.collect();
            format!(
                "the old table is the partition {}; pupctl convert finish ends the conversion, and \
                 pupctl convert rollback takes it back",
                names.join(" and ")
            )
        }
    }
}

/// Put the new tables in the place of the old ones
///
/// Writers wait while the last events are copied, everybody waits while the tables change names:
/// some milliseconds each, in tries of at most 50, and of up to 400 when many have failed. Somebody
/// who has read for long is waited for without keeping others waiting.
///
/// Statements that were prepared before go on. Programs that append through the library pupctl
/// open their stores again where the new layout has a guard.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SwapArgs {
    #[command(flatten)]
    work: WorkArgs,
}

pub(super) fn run(args: &SwapArgs, context: &Context) -> anyhow::Result<Exit> {
    if context.global.dry_run {
        return dry_run::show_next(context, |client, record| {
            if record.phase != Phase::Ready {
                return Err(not_ready(record));
            }
            Ok(vec![Planned::read(client, record, Way::Forth)?.step()])
        });
    }
    let store = context.open_for_writing()?;
    let (mut locked, catalog) = write::lock(context, store)?;
    let found = ongoing(&mut locked, &catalog)?;
    if found.is_swapped() {
        locked.release()?;
        return tell_nothing(context, Some(&found), &swapped(&found));
    }
    if found.phase < Phase::Ready {
        return Err(not_ready(&found).into());
    }
    let (record, stall) = work(
        &args.work,
        context,
        &mut locked,
        &Script::default(),
        |_| Ok(found),
        |converter| {
            let stall = converter.swap()?;
            Ok((converter.record.clone(), stall))
        },
    )?;
    locked.release()?;
    tell_swap(context, &record, stall, &swapped(&record))
}

fn not_ready(record: &Record) -> Error {
    Error::refused(format!("the conversion is {}, not ready", record.phase))
        .hint("go on with it first: pupctl convert resume")
}
