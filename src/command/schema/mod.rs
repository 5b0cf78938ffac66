//! `pupctl schema …`

pub mod init;
pub mod status;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `schema`.
#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// Make the tables of the store and their first partitions
    Init(init::InitArgs),
    /// Show the layout, the migrations and the latest operations
    Status(status::StatusArgs),
}

pub(super) fn run(
    command: &SchemaCommand,
    context: impl FnOnce(&'static str) -> anyhow::Result<Context>,
) -> anyhow::Result<Exit> {
    match command {
        SchemaCommand::Init(args) => init::run(args, &context("schema init")?),
        SchemaCommand::Status(args) => status::run(args, &context("schema status")?),
    }
}
