//! `pupctl convert …`

mod dry_run;
pub mod finish;
pub mod pause;
mod preflight;
mod report;
pub mod resume;
pub mod rollback;
pub mod run;
pub mod start;
pub mod status;
pub mod swap;
mod work;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `convert`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum ConvertCommand {
    Start(start::StartArgs),
    Run(run::RunArgs),
    Status(status::StatusArgs),
    Pause(pause::PauseArgs),
    Resume(resume::ResumeArgs),
    Swap(swap::SwapArgs),
    Rollback(rollback::RollbackArgs),
    Finish(finish::FinishArgs),
}

impl ConvertCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Start(_) => "convert start",
            Self::Run(_) => "convert run",
            Self::Status(_) => "convert status",
            Self::Pause(_) => "convert pause",
            Self::Resume(_) => "convert resume",
            Self::Swap(_) => "convert swap",
            Self::Rollback(_) => "convert rollback",
            Self::Finish(_) => "convert finish",
        }
    }
}

pub(super) fn run(command: &ConvertCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        ConvertCommand::Start(args) => start::run(args, context),
        ConvertCommand::Run(args) => run::run(args, context),
        ConvertCommand::Status(args) => status::run(args, context),
        ConvertCommand::Pause(args) => pause::run(args, context),
        ConvertCommand::Resume(args) => resume::run(args, context),
        ConvertCommand::Swap(args) => swap::run(args, context),
        ConvertCommand::Rollback(args) => rollback::run(args, context),
        ConvertCommand::Finish(args) => finish::run(args, context),
    }
}
