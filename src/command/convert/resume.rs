//! `pupctl convert resume`

use clap::Args;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::write;
use crate::operation::convert::record;
use crate::render::Script;

use super::report::{tell, tell_nothing};
use super::work::{WorkArgs, ongoing, work};

/// Go on with a conversion that was paused or interrupted
///
/// It begins where the last run ended: what was copied is not copied again.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    work: WorkArgs,
}

pub(super) fn run(args: &ResumeArgs, context: &Context) -> anyhow::Result<Exit> {
    if context.global.dry_run {
        return super::status::run(&super::status::StatusArgs {}, context);
    }
    let store = context.open_for_writing()?;
    let (mut locked, catalog) = write::lock(context, store)?;
    let found = ongoing(&mut locked, &catalog)?;
    if found.is_ready(catalog.server.now) {
        locked.release()?;
        return tell_nothing(context, Some(&found), &format!("the conversion is {}", found.phase));
    }
    record::pause(locked.client(), &catalog.schema_name, false)?;
    let (record, outcome) = work(
        &args.work,
        context,
        &mut locked,
        &Script::default(),
        |_| Ok(found),
        |converter| {
            let outcome = converter.to_ready()?;
            Ok((converter.record.clone(), outcome))
        },
    )?;
    locked.release()?;
    tell(context, &record, outcome)
}
