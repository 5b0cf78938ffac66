//! `pupctl contexts …`

pub mod add;
pub mod list;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `contexts`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum ContextsCommand {
    Add(add::AddArgs),
    List(list::ListArgs),
}

impl ContextsCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "contexts add",
            Self::List(_) => "contexts list",
        }
    }
}

pub(super) fn run(command: &ContextsCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        ContextsCommand::Add(args) => add::run(args, context),
        ContextsCommand::List(args) => list::run(args, context),
    }
}
