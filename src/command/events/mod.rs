//! `pupctl events …`

pub mod import;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `events`.
#[derive(Debug, Subcommand)]
pub enum EventsCommand {
    /// Load a file of events into the store, all or nothing
    Import(import::ImportArgs),
}

impl EventsCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Import(_) => crate::event::import::COMMAND,
        }
    }
}

pub(super) fn run(command: &EventsCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        EventsCommand::Import(args) => import::run(args, context),
    }
}
