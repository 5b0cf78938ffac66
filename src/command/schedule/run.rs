//! `pupctl schedule run`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::Args;

use crate::cli::argument::duration;
use crate::cli::exit::Exit;
use crate::cli::output::at_most;
use crate::command::context::{Context, layout_of};
use crate::db::inspect::Depth;
use crate::error::Result;
use crate::layout::name::fnv1a;
use crate::operation::journal;
use crate::schedule::{Agenda, Job};

use super::child::Launcher;
use super::daemon::Daemon;
use super::notify::Notify;
use super::seat::Seat;
use super::state::State;
use super::{clock, jobs};

/// Run the jobs of the store at their times
///
/// Runs until Ctrl-C or SIGTERM; a job that runs then is given its time to end. One job runs at a
/// time. What was missed is made up once, however often it was missed: since the last run in the
/// journal, or since what --state has noted. A job that fails is tried again after a minute, then
/// after two, four, and so on. Without jobs in pupctl.toml, `partitions ensure` runs once a day and
/// `partitions check --exit-code` once an hour.
///
/// Each job is a process of its own with the options of this one. A store has one daemon: a second
/// one ends with 4. While the server is away, jobs fail, and are made up when it is back.
///
/// Examples:
///   pupctl schedule run --state state.json --health-file health.json
///   pupctl schedule run --once --state state.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RunArgs {
    /// Run what is due now, and end; what that is, --state tells
    #[arg(long, requires = "state")]
    once: bool,

    /// Note in this file up to when each job has had its runs
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,

    /// Write into this file how it goes, several times a minute, as JSON
    #[arg(long, value_name = "FILE")]
    health_file: Option<PathBuf>,

    /// How much time a job gets to end after the first signal; the second one ends it
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    grace: Duration,
}

/// What the daemon was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes<'a> {
    pub(super) once: bool,
    pub(super) health_file: Option<&'a Path>,
    pub(super) grace: Duration,
}

pub(super) fn run(args: &RunArgs, context: &Context) -> anyhow::Result<Exit> {
    let jobs = jobs::jobs(context)?;
    let state = args.state.as_deref().map(State::open).transpose()?;
    let mut store = context.open_for_writing()?;
    let schema = store.schema;
    // Every job would fail at a store that is not there.
    layout_of(&context.inspect(&mut store.client, &schema, Depth::default())?)?;
    let successes = journal::successes(&mut store.client, &schema)?;
    drop(store.client);
    let mut seat = Seat::new(context.connector()?, &schema);
    seat.hold()?;
    let signals = count_signals(context);
    let alone: Vec<_> = jobs.iter().map(Job::in_journal).collect();
    let known = |job: &Job| match &state {
        Some(state) => state.covered(&job.name),
        // The journal knows commands, so that of two jobs with the same one it knows neither.
        None if alone.iter().filter(|name| **name == job.in_journal()).count() > 1 => None,
        None => {
            let name = job.in_journal();
            successes.iter().find(|(command, _)| *command == name).map(|(_, at)| *at)
        }
    };
    if state.is_none() {
        warn_of_unknown(context, jobs.iter().filter(|job| known(job).is_none()));
    }
    let agenda = Agenda::new(jobs, jobs::pace(context, fnv1a(&schema)), clock::now(), known);
    let wishes =
        Wishes { once: args.once, health_file: args.health_file.as_deref(), grace: args.grace };
    let launcher = Launcher::new(context, &schema)?;
    let notify = Notify::from_environment();
    Daemon::new(context, wishes, agenda, state, seat, launcher, notify, signals, schema)
        .run()
        .map_err(Into::into)
}

/// Tells once which jobs begin with their next time, whatever they have missed: the journal has no
/// runs of those that only read.
fn warn_of_unknown<'a>(context: &Context, jobs: impl Iterator<Item = &'a Job>) {
    let names: Vec<_> = jobs.map(|job| job.name.clone()).collect();
    if names.is_empty() {
        return;
    }
    let names = at_most(names).join(", ");
    context.output.warn(format!(
        "nobody knows which runs these jobs have missed: {names} (--state notes it from now on)"
    ));
}

/// Counts the signals: the second one is for the job that still runs.
fn count_signals(context: &Context) -> Arc<AtomicU32> {
    let signals = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&signals);
    context.interrupt.on_raise(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    signals
}

/// Puts an error of a file or a session on record that the daemon survives.
pub(super) fn survive(context: &Context, outcome: Result<()>) {
    if let Err(error) = outcome {
        context.output.tell_failure(&error);
    }
}
