//! `pupctl partitions …`

pub mod check;
pub mod ensure;
pub mod list;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `partitions`.
#[derive(Debug, Subcommand)]
pub enum PartitionsCommand {
    /// Make the partitions that the layout names and the database lacks
    Ensure(ensure::EnsureArgs),
    /// List the partitions as a tree, with bounds, rows and sizes
    List(list::ListArgs),
    /// Look for missing months, gaps, lost keys and other problems
    Check(check::CheckArgs),
}

pub(super) fn run(
    command: &PartitionsCommand,
    context: impl FnOnce(&'static str) -> anyhow::Result<Context>,
) -> anyhow::Result<Exit> {
    match command {
        PartitionsCommand::Ensure(args) => ensure::run(args, &context("partitions ensure")?),
        PartitionsCommand::List(args) => list::run(args, &context("partitions list")?),
        PartitionsCommand::Check(args) => check::run(args, &context("partitions check")?),
    }
}
