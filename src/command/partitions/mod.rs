//! `pupctl partitions …`

pub mod attach;
pub mod check;
pub mod close;
pub mod detach;
pub mod drain;
pub mod ensure;
pub mod explain;
pub mod list;
pub mod reopen;
pub mod split;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `partitions`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum PartitionsCommand {
    Ensure(ensure::EnsureArgs),
    List(list::ListArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Attach(attach::AttachArgs),
    Detach(detach::DetachArgs),
    Drain(drain::DrainArgs),
    Split(split::SplitArgs),
    Close(close::CloseArgs),
    Reopen(reopen::ReopenArgs),
}

impl PartitionsCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ensure(_) => "partitions ensure",
            Self::List(_) => "partitions list",
            Self::Check(_) => "partitions check",
            Self::Explain(_) => "partitions explain",
            Self::Attach(_) => "partitions attach",
            Self::Detach(_) => "partitions detach",
            Self::Drain(_) => "partitions drain",
            Self::Split(_) => "partitions split",
            Self::Close(_) => "partitions close",
            Self::Reopen(_) => "partitions reopen",
        }
    }
}

pub(super) fn run(command: &PartitionsCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        PartitionsCommand::Ensure(args) => ensure::run(args, context),
        PartitionsCommand::List(args) => list::run(args, context),
        PartitionsCommand::Check(args) => check::run(args, context),
        PartitionsCommand::Explain(args) => explain::run(args, context),
        PartitionsCommand::Attach(args) => attach::run(args, context),
        PartitionsCommand::Detach(args) => detach::run(args, context),
        PartitionsCommand::Drain(args) => drain::run(args, context),
        PartitionsCommand::Split(args) => split::run(args, context),
        PartitionsCommand::Close(args) => close::run(args, context),
        PartitionsCommand::Reopen(args) => reopen::run(args, context),
    }
}
