//! `pupctl events …`

pub mod export;
mod sink;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `events`.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Write the events of the store to a file or to standard output
    Export(export::ExportArgs),
}

impl EventsCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Export(_) => "events export",
        }
    }
}

pub(super) fn run(command: &EventsCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        EventsCommand::Export(args) => export::run(args, context),
    }
}
