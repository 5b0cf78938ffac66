//! `pupctl projections …`

pub mod adopt;
pub mod dead_letters;
pub mod delete;
mod files;
pub mod init;
pub mod list;
pub mod new;
pub mod pause;
mod place;
pub mod rebuild;
pub mod rescale;
pub mod reset;
pub mod resume;
pub mod run;
pub mod status;
mod steer;
pub mod test;
pub mod verify;
mod words;

use clap::Subcommand;

use crate::cli::exit::Exit;

use super::context::Context;

/// The verbs of `projections`.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum ProjectionsCommand {
    New(new::NewArgs),
    Test(test::TestArgs),
    Run(run::RunArgs),
    Init(init::InitArgs),
    List(list::ListArgs),
    Status(status::StatusArgs),
    Pause(pause::PauseArgs),
    Resume(resume::ResumeArgs),
    Reset(reset::ResetArgs),
    Delete(delete::DeleteArgs),
    Rebuild(rebuild::RebuildArgs),
    Rescale(rescale::RescaleArgs),
    Adopt(adopt::AdoptArgs),
    Verify(verify::VerifyArgs),
    /// Look at events that could not be handled, and have them handled or forget them
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
}

impl ProjectionsCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::New(_) => "projections new",
            Self::Test(_) => "projections test",
            Self::Run(_) => "projections run",
            Self::Init(_) => "projections init",
            Self::List(_) => "projections list",
            Self::Status(_) => "projections status",
            Self::Pause(_) => "projections pause",
            Self::Resume(_) => "projections resume",
            Self::Reset(_) => "projections reset",
            Self::Delete(_) => "projections delete",
            Self::Rebuild(_) => "projections rebuild",
            Self::Rescale(_) => "projections rescale",
            Self::Adopt(_) => "projections adopt",
            Self::Verify(_) => "projections verify",
            Self::DeadLetters(command) => command.name(),
        }
    }
}

pub(super) fn run(command: &ProjectionsCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        ProjectionsCommand::New(args) => new::run(args, context),
        ProjectionsCommand::Test(args) => test::run(args, context),
        ProjectionsCommand::Run(args) => run::run(args, context),
        ProjectionsCommand::Init(args) => init::run(args, context),
        ProjectionsCommand::List(args) => list::run(args, context),
        ProjectionsCommand::Status(args) => status::run(args, context),
        ProjectionsCommand::Pause(args) => pause::run(args, context),
        ProjectionsCommand::Resume(args) => resume::run(args, context),
        ProjectionsCommand::Reset(args) => reset::run(args, context),
        ProjectionsCommand::Delete(args) => delete::run(args, context),
        ProjectionsCommand::Rebuild(args) => rebuild::run(args, context),
        ProjectionsCommand::Rescale(args) => rescale::run(args, context),
        ProjectionsCommand::Adopt(args) => adopt::run(args, context),
        ProjectionsCommand::Verify(args) => verify::run(args, context),
        ProjectionsCommand::DeadLetters(command) => dead_letters::run(command, context),
    }
}
