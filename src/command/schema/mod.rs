//! `pupctl schema …`

pub mod init;
pub mod layout_args;
pub mod status;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `schema`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum SchemaCommand {
    Init(init::InitArgs),
    Status(status::StatusArgs),
}

impl SchemaCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "schema init",
            Self::Status(_) => "schema status",
        }
    }
}

pub(super) fn run(command: &SchemaCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        SchemaCommand::Init(args) => init::run(args, context),
        SchemaCommand::Status(args) => status::run(args, context),
    }
}
