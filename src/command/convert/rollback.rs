//! `pupctl convert rollback`

use clap::Args;

use crate::cli::confirm::confirm;
use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::write;
use crate::operation::convert::back::has_leftovers;
use crate::operation::convert::planned::{Planned, Way};
use crate::operation::convert::record;
use crate::plan::convert::Phase;
use crate::render::Script;
use crate::render::convert as statements;

use super::dry_run;
use super::report::{tell_nothing, tell_swap};
use super::work::{WorkArgs, none, work};

/// Call a conversion off
///
/// Before the swap, what was built is dropped and the old tables are as they were. After it, the
/// events that came since are copied into the old tables, which then become the store's again; it
/// is refused where events from before the swap have been changed or archived since.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RollbackArgs {
    #[command(flatten)]
    work: WorkArgs,
}

pub(super) fn run(args: &RollbackArgs, context: &Context) -> anyhow::Result<Exit> {
    if context.global.dry_run {
        return dry_run::show_next(context, |client, record| {
            if record.phase == Phase::Swapped {
                return Ok(vec![Planned::read(client, record, Way::Back)?.step()]);
            }
            Ok(statements::calling_off(&record.target()))
        });
    }
    let store = context.open_for_writing()?;
    let (mut locked, catalog) = write::lock(context, store)?;
    // One that was interrupted when all but the dropping was done is finished here.
    let found = record::find(locked.client(), &catalog.schema_name)?.ok_or_else(none)?;
    if found.phase.is_over() && !has_leftovers(locked.client(), &catalog, &found)? {
        locked.release()?;
        let why = format!("the last conversion is {}", found.phase);
        return tell_nothing(context, Some(&found), &why);
    }
    let question = match found.phase {
        Phase::Swapped => "The store gets its old tables back. Go on?",
        _ => "What was copied is dropped. Go on?",
    };
    confirm(&context.output, context.global.yes, question)?;
    let (record, stall) = work(
        &args.work,
        context,
        &mut locked,
        &Script::default(),
        |_| Ok(found),
        |converter| {
            let stall = converter.roll_back()?;
            Ok((converter.record.clone(), stall))
        },
    )?;
    locked.release()?;
    tell_swap(context, &record, stall, "the store has its old tables")
}
