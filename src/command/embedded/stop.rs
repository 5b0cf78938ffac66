//! `pupctl embedded stop`

use clap::Args;
use serde_json::json;

use crate::cli::confirm::confirm;
use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::server::Status;

/// Stop the private server of this folder
///
/// The cluster stays and is used by the next start, unless --delete-data is given.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Also delete the cluster with all its data; cannot be undone
    #[arg(long)]
    delete_data: bool,
}

pub(super) fn run(args: &StopArgs, context: &Context) -> anyhow::Result<Exit> {
    let output = &context.output;
    if args.delete_data {
        let question = "This deletes the private server of this folder with all its data.";
        confirm(output, context.global.yes, question)?;
        let status = context.embedded().status()?;
        context.embedded().remove()?;
        let stopped = matches!(status, Status::Running(_));
        let deleted = status != Status::Absent;
        output.result(context.name, &json!({"stopped": stopped, "deleted": deleted}), "")?;
        output.say(if deleted { "Deleted" } else { "Nothing to do: there is none" });
        return Ok(Exit::Done);
    }
    let stopped = context.embedded().stop()?;
    output.result(context.name, &json!({"stopped": stopped, "deleted": false}), "")?;
    output.say(if stopped { "Stopped" } else { "Nothing to do: it was not running" });
    Ok(Exit::Done)
}
