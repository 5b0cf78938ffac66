//! `pupctl events …`

pub mod export;
pub mod import;
mod sink;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `events`.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Load a file of events into the store, all or nothing
    Import(import::ImportArgs),
    /// Write the events of the store to a file or to standard output
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
