//! The commands: a folder is a noun, a file is a verb. Each reads inspect → plan → show →
//! confirm → execute, and knows neither SQL nor the catalog's tables.

pub mod advise;
pub mod archive;
pub mod completions;
pub mod context;
pub mod contexts;
pub mod convert;
pub mod demo;
pub mod doctor;
pub mod embedded;
pub mod events;
mod file;
mod findings;
pub mod man;
pub mod metrics;
pub mod operations;
mod overview;
pub mod partitions;
pub mod projections;
pub mod report;
pub mod restore;
pub mod schedule;
pub mod schema;
pub mod write;

use clap::{Parser, Subcommand};

use crate::cli::exit::Exit;
use crate::cli::global::GlobalArgs;
use crate::cli::output::Output;
use crate::db::Interrupt;
use crate::error::{Error, Kind};

use context::Context;
use schedule::ScheduleCommand;

/// Schema, migrations and partitions of PostgreSQL event stores
///
/// pupctl makes the tables of an event store (events, aggregate_heads, projection_checkpoints),
/// partitioned by context, hash or month, and keeps their partitions. Results go to standard
/// output, everything else to standard error.
///
/// Exit codes: 0 done or nothing to do; 1 failed or refused; 2 usage or configuration, or a
/// question without a terminal and without --yes; 3 problems found, with --exit-code; 4 another
/// pupctl works on the store; 5 locks on tables not obtained in time; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "pupctl", version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// The options that every command takes.
    #[command(flatten)]
    pub global: GlobalArgs,
}

/// The nouns, and the commands that need none.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the tables of the store by migrations, and look at them
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// Add bounded contexts, and list them
    #[command(subcommand)]
    Contexts(contexts::ContextsCommand),
    /// Make, list and check partitions
    #[command(subcommand)]
    Partitions(partitions::PartitionsCommand),
    /// Give a store that is not partitioned another layout, while it is used
    #[command(subcommand)]
    Convert(convert::ConvertCommand),
    #[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
    Archive(archive::ArchiveArgs),
    #[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
    Restore(restore::RestoreArgs),
    /// Look at projections, and steer them
    #[command(subcommand)]
    Projections(projections::ProjectionsCommand),
    /// Load events from files into the store, and write them to files
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// See what pupctl has done, go on with what was interrupted, or call it off
    #[command(subcommand)]
    Operations(operations::OperationsCommand),
    #[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
    Report(report::ReportArgs),
    #[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
    Metrics(metrics::MetricsArgs),
    /// Run jobs at their times, or have another scheduler run them
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Run a private PostgreSQL server in the folder .pupctl
    #[command(subcommand)]
    Embedded(embedded::EmbeddedCommand),
    #[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
    Doctor(doctor::DoctorArgs),
    #[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
    Advise(advise::AdviseArgs),
    #[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
    Demo(demo::DemoArgs),
    #[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
    Completions(completions::CompletionsArgs),
    #[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
    Man(man::ManArgs),
}

impl Command {
    /// As the user types it, without the options.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Schema(command) => command.name(),
            Self::Contexts(command) => command.name(),
            Self::Partitions(command) => command.name(),
            Self::Convert(command) => command.name(),
            Self::Archive(args) => args.name(),
            Self::Restore(_) => "restore",
            Self::Projections(command) => command.name(),
            Self::Events(command) => command.name(),
            Self::Operations(command) => command.name(),
            Self::Report(_) => "report",
            Self::Metrics(_) => "metrics",
            Self::Schedule(command) => command.name(),
            Self::Embedded(command) => command.name(),
            Self::Doctor(_) => "doctor",
            Self::Advise(_) => "advise",
            Self::Demo(_) => "demo",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }

    /// Whether it does nothing in a store that could be shown instead.
    fn has_no_sql(&self) -> bool {
        let is_daemon = matches!(self, Self::Schedule(ScheduleCommand::Run(_)));
        is_daemon
            || matches!(
                self,
                Self::Embedded(_) | Self::Demo(_) | Self::Completions(_) | Self::Man(_)
            )
    }
}

/// Runs a command.
pub fn run(cli: Cli, output: &Output, interrupt: &Interrupt) -> anyhow::Result<Exit> {
    let Cli { command, global } = cli;
    if global.dry_run && command.has_no_sql() {
        return Err(Error::invalid("this command has no SQL to show")
            .hint("leave out --dry-run")
            .into());
    }
    match &command {
        // What a shell runs at its start must not fail over a configuration file.
        Command::Completions(args) => return completions::run(args, output),
        Command::Man(args) => return man::run(args, output),
        _ => {}
    }
    let context = Context::new(command.name(), global, output.clone(), interrupt.clone())?;
    match &command {
        Command::Schema(command) => schema::run(command, &context),
        Command::Contexts(command) => contexts::run(command, &context),
        Command::Partitions(command) => partitions::run(command, &context),
        Command::Convert(command) => convert::run(command, &context),
        Command::Archive(args) => archive::run(args, &context),
        Command::Restore(args) => restore::run(args, &context),
        Command::Projections(command) => projections::run(command, &context),
        Command::Events(command) => events::run(command, &context),
        Command::Operations(command) => operations::run(command, &context),
        Command::Report(args) => report::run(args, &context),
        Command::Metrics(args) => metrics::run(args, &context),
        Command::Schedule(command) => schedule::run(command, &context),
        Command::Embedded(command) => embedded::run(command, &context),
        Command::Doctor(args) => doctor::run(args, &context),
        Command::Advise(args) => advise::run(args, &context),
        Command::Demo(args) => demo::run(args, &context),
        Command::Completions(args) => completions::run(args, output),
        Command::Man(args) => man::run(args, output),
    }
}

/// The error of the library inside the one of a command, with the contexts that were added to it
/// in front.
#[must_use]
pub fn failure(error: anyhow::Error) -> Error {
    let is_ours = |cause: &&(dyn std::error::Error + 'static)| !cause.is::<Error>();
    let contexts: Vec<_> = error.chain().take_while(is_ours).map(ToString::to_string).collect();
    match error.downcast::<Error>() {
        Ok(ours) => contexts.into_iter().rev().fold(ours, Error::context),
        Err(other) => Error::new(Kind::System, format!("{other:#}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::address::NOUNS;

    #[test]
    fn messages_know_all_commands() {
        let command = Cli::command();
        let mut names: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        names.sort_unstable();
        assert_eq!(names, NOUNS);
    }
}
