//! `pupctl contexts …`

pub mod add;
pub mod list;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `contexts`.
#[derive(Debug, Subcommand)]
pub enum ContextsCommand {
    /// Add bounded contexts, with their partitions
    Add(add::AddArgs),
    /// List the bounded contexts of the store
    List(list::ListArgs),
}

pub(super) fn run(
    command: &ContextsCommand,
    context: impl FnOnce(&'static str) -> anyhow::Result<Context>,
) -> anyhow::Result<Exit> {
    match command {
        ContextsCommand::Add(args) => add::run(args, &context("contexts add")?),
        ContextsCommand::List(args) => list::run(args, &context("contexts list")?),
    }
}
