//! `pupctl embedded …`

pub mod start;
pub mod status;
pub mod stop;
pub mod url;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `embedded`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum EmbeddedCommand {
    Start(start::StartArgs),
    Stop(stop::StopArgs),
    Status(status::StatusArgs),
    Url(url::UrlArgs),
}

impl EmbeddedCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Start(_) => "embedded start",
            Self::Stop(_) => "embedded stop",
            Self::Status(_) => "embedded status",
            Self::Url(_) => "embedded url",
        }
    }
}

pub(super) fn run(command: &EmbeddedCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        EmbeddedCommand::Start(args) => start::run(args, context),
        EmbeddedCommand::Stop(args) => stop::run(args, context),
        EmbeddedCommand::Status(args) => status::run(args, context),
        EmbeddedCommand::Url(args) => url::run(args, context),
    }
}
