//! `pupctl operations resume`

use clap::{Args, Parser};

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::{self, Cli};
use crate::error::Error;

/// Go on with an operation that was interrupted
///
/// It runs the command again with the words that it was given; the command finds what is done.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Its number
    #[arg(value_name = "ID")]
    id: i64,
}

/// The commands that leave something to go on with.
const RESUMED: [&str; 4] = ["archive", "partitions split", "projections rebuild", "restore"];

pub(super) fn run(args: &ResumeArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open_for_writing()?;
    let operation = super::find(&mut store, args.id)?;
    drop(store);
    if operation.outcome == "done" {
        context.output.say(format!("Nothing to do: operation {} is done", args.id));
        return Ok(Exit::Done);
    }
    let Some(request) = operation.request() else {
        return Err(Error::refused(format!(
            "operation {} ({}) left nothing to go on with",
            args.id, operation.command
        ))
        .hint(if operation.command.starts_with("convert ") {
            "go on with the conversion: pupctl convert resume".to_owned()
        } else {
            format!("run the command again: pupctl {}", operation.command)
        })
        .into());
    };
    // The journal is a table: who may write to it does not decide what is run here.
    let command: Vec<_> = operation.command.split(' ').map(str::to_owned).collect();
    if !request.starts_with(&command) || !RESUMED.contains(&&*operation.command) {
        return Err(Error::refused(format!(
            "the journal says that operation {} ({}) was: {}",
            args.id,
            operation.command,
            request.join(" ")
        ))
        .hint("that cannot be gone on with: run the command that you mean by hand")
        .into());
    }
    context.output.say(format!("Going on with: pupctl {}", request.join(" ")));
    let words = std::iter::once("pupctl").chain(request.iter().map(String::as_str));
    let mut cli = Cli::try_parse_from(words).map_err(|error| {
        Error::refused(format!("the request of operation {} cannot be read", args.id))
            .detail(error.to_string().trim().to_owned())
            .hint("another version of pupctl wrote it: run the command by hand")
    })?;
    cli.global = context.global.clone();
    command::run(cli, &context.output, &context.interrupt)
}
