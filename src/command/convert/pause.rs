//! `pupctl convert pause`

use clap::Args;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::operation::convert::record;
use crate::plan::convert::Phase;

use super::report::{Report, tell_nothing};
use super::work::none;

/// Let the conversion that copies stop after the ranges that it copies now
///
/// The command that copies ends by itself. `convert resume` goes on.
#[derive(Debug, Args)]
pub struct PauseArgs {}

pub(super) fn run(_args: &PauseArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open_for_writing()?;
    let Some(found) = record::open(&mut store.client, &store.schema)? else {
        return Err(none().into());
    };
    if found.phase > Phase::Copying {
        let why = format!("the conversion is {}, and nothing is copied", found.phase);
        return tell_nothing(context, Some(&found), &why);
    }
    if !context.global.dry_run {
        record::pause(&mut store.client, &store.schema, true)?;
    }
    let report = Report { dry_run: context.global.dry_run, ..Report::of(&found) };
    context.output.result(context.name, &report, "")?;
    context.output.say("The copy stops within a second; go on with pupctl convert resume");
    Ok(Exit::Done)
}
