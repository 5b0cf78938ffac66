//! `pupctl schema …`

pub mod baseline;
pub mod directory;
pub mod generate;
pub mod index;
pub mod init;
pub mod layout_args;
pub mod migrate;
pub mod plan;
pub mod status;
pub mod verify;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `schema`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum SchemaCommand {
    Init(init::InitArgs),
    Generate(generate::GenerateArgs),
    Migrate(migrate::MigrateArgs),
    Plan(plan::PlanArgs),
    Status(status::StatusArgs),
    Baseline(baseline::BaselineArgs),
    Verify(verify::VerifyArgs),
    #[command(subcommand)]
    Index(index::IndexCommand),
}

impl SchemaCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "schema init",
            Self::Generate(_) => "schema generate",
            Self::Migrate(_) => "schema migrate",
            Self::Plan(_) => "schema plan",
            Self::Status(_) => "schema status",
            Self::Baseline(_) => "schema baseline",
            Self::Verify(_) => "schema verify",
            Self::Index(command) => command.name(),
        }
    }
}

pub(super) fn run(command: &SchemaCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        SchemaCommand::Init(args) => init::run(args, context),
        SchemaCommand::Generate(args) => generate::run(args, context),
        SchemaCommand::Migrate(args) => migrate::run(args, context),
        SchemaCommand::Plan(args) => plan::run(args, context),
        SchemaCommand::Status(args) => status::run(args, context),
        SchemaCommand::Baseline(args) => baseline::run(args, context),
        SchemaCommand::Verify(args) => verify::run(args, context),
        SchemaCommand::Index(command) => index::run(command, context),
    }
}
