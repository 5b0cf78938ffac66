//! `pupctl schedule …`

mod child;
mod clock;
mod daemon;
mod health;
mod jobs;
pub mod next;
mod notify;
pub mod print;
pub mod run;
mod seat;
mod state;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `schedule`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum ScheduleCommand {
    Run(run::RunArgs),
    Next(next::NextArgs),
    Print(print::PrintArgs),
}

impl ScheduleCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "schedule run",
            Self::Next(_) => "schedule next",
            Self::Print(_) => "schedule print",
        }
    }
}

pub(super) fn run(command: &ScheduleCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        ScheduleCommand::Run(args) => run::run(args, context),
        ScheduleCommand::Next(args) => next::run(args, context),
        ScheduleCommand::Print(args) => print::run(args, context),
    }
}
