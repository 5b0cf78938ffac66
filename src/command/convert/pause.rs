//! `pupctl convert pause`

use clap::Args;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::db::lock;
use crate::operation::convert::record;
use crate::plan::convert::Phase;

use super::report::{Report, tell_nothing};
use super::work::none;

/// Let the conversion stop when it has done what it is at
///
/// It ends the ranges that it copies, the indexes that it builds, or the pieces that it compares;
/// no more are begun, and the command that works ends by itself. `convert resume` goes on.
#[derive(Debug, Args)]
pub struct PauseArgs {}

pub(super) fn run(_args: &PauseArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open_for_writing()?;
    let Some(found) = record::open(&mut store.client, &store.schema)? else {
        return Err(none().into());
    };
    if found.phase >= Phase::Ready {
        let why = format!("the conversion is {}, and nothing is at work", found.phase);
        return tell_nothing(context, Some(&found), &why);
    }
    let running = lock::is_held(&mut store.client, &store.schema)?;
    if !context.global.dry_run {
        record::pause(&mut store.client, &store.schema, true)?;
    }
    let report = Report { dry_run: context.global.dry_run, ..Report::of(&found) };
    context.output.result(context.name, &report, "")?;
    let when = if running { when(found.phase) } else { "Nobody works on it at this moment" };
    if context.global.dry_run {
        context.output.say(format!("Dry run: it was not paused. {when}"));
    } else {
        context.output.say(format!("{when}; go on with pupctl convert resume"));
    }
    Ok(Exit::Done)
}

/// When it stops.
fn when(phase: Phase) -> &'static str {
    match phase {
        Phase::Indexing => {
            "It stops when the indexes are done that are being built (Ctrl-C stops it at once, and \
             they are built again)"
        }
        Phase::Verifying => "It stops when the pieces are done that are being compared",
        _ => "It stops within a second or so",
    }
}
