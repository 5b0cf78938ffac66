//! `pupctl events …`

pub mod export;
pub mod import;
mod sink;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `events`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum EventsCommand {
    Import(import::ImportArgs),
    Export(export::ExportArgs),
}

impl EventsCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Import(_) => crate::event::import::COMMAND,
            Self::Export(_) => "events export",
        }
    }
}

pub(super) fn run(command: &EventsCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        EventsCommand::Import(args) => import::run(args, context),
        EventsCommand::Export(args) => export::run(args, context),
    }
}
