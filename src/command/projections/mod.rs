//! `pupctl projections …`

pub mod adopt;
mod place;
pub mod rescale;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `projections`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum ProjectionsCommand {
    Rescale(rescale::RescaleArgs),
    Adopt(adopt::AdoptArgs),
}

impl ProjectionsCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Rescale(_) => "projections rescale",
            Self::Adopt(_) => "projections adopt",
        }
    }
}

pub(super) fn run(command: &ProjectionsCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        ProjectionsCommand::Rescale(args) => rescale::run(args, context),
        ProjectionsCommand::Adopt(args) => adopt::run(args, context),
    }
}
