//! `pupctl projections run`

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::builder::RangedI64ValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::argument::duration;
use crate::cli::exit::Exit;
use crate::cli::output::{count, table};
use crate::cli::progress::FoldBar;
use crate::command::context::Context;
use crate::error::{Error, Kind, Result};
use crate::projection::sql::setup::{self, Change};
use crate::projection::{
    Connect, ErrorPolicy, ProcessorConfig, Report, Runner, Slots, SqlProjection, Watch,
};

use super::files::FilesArgs;

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(100);

/// Keep read models up to date that are written in SQL
///
/// Each .sql file of the folder is a projection: its events are handled where they are, in the
/// server. Runs until it is stopped with Ctrl-C or SIGTERM, which let the batches at hand end; with
/// --until-caught-up only until everything is handled that is there now. Before the first batch of
/// a file its statements run on an empty one, and are taken back: what they lock tells what they
/// write. A file that is not what it was when it began is refused: rebuild the projection, or go on
/// with --accept-changed.
///
/// Any number of these may run at a time, on any number of machines: they share the slots.
/// PARTITION_KEY and TOTAL_PARTITIONS pin one to a slot.
///
/// Examples:
///   pupctl projections run
///   pupctl projections run order_totals --until-caught-up --workers 4
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RunArgs {
    /// The projections [default: all of the folder]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    #[command(flatten)]
    files: FilesArgs,

    /// Stop when everything is handled that is there now
    #[arg(long)]
    until_caught_up: bool,

    /// How many workers each projection has: a thread and a connection each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = workers())]
    workers: u16,

    /// The most events of a batch [default: as many as are handled in a moment]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch_size: Option<u32>,

    /// What to do with an event that cannot be handled
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = OnError::Stop)]
    on_error: OnError,

    /// Go on with files that are not what they were, from where their projections stand
    #[arg(long, requires = "names")]
    accept_changed: bool,

    /// The longest pause between two looks for new events, on an idle store
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = duration)]
    poll_interval: Duration,
}

/// Reads a number of workers.
pub(super) fn workers() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=256)
}

/// What to do with an event that cannot be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OnError {
    /// Stop the projection right before it
    Stop,
    /// Put it among the dead letters, and go on without it
    Skip,
    /// Put it among the dead letters, and all later events of its aggregate
    Park,
}

impl From<OnError> for ErrorPolicy {
    fn from(policy: OnError) -> Self {
        match policy {
            OnError::Stop => Self::Stop,
            OnError::Skip => Self::Skip,
            OnError::Park => Self::Park,
        }
    }
}

#[derive(Serialize)]
struct Ran {
    caught_up: bool,
    seconds: f64,
    projections: Vec<Done>,
}

#[derive(Serialize)]
struct Done {
    projection: String,
    events: u64,
    batches: u64,
    dead_letters: u64,
    position: i64,
    /// Why it stopped before its time.
    stopped: Option<String>,
}

#[derive(Serialize)]
struct Prepared {
    dry_run: bool,
    projections: Vec<String>,
}

pub(super) fn run(args: &RunArgs, context: &Context) -> anyhow::Result<Exit> {
    let projections = args.files.read(context, &args.names)?;
    let schema = context.open_for_writing()?.schema;
    let connector = context.connector()?;
    let change = if args.accept_changed { Change::Accept } else { Change::Refuse };
    let mut client = connector.connect("pupctl/projections run")?;
    for projection in &projections {
        let prepared = if context.global.dry_run {
            setup::check(&mut client, &schema, projection, change)
        } else {
            setup::prepare(&mut client, &schema, projection, change)
        };
        prepared.map_err(|error| context.interrupt.explain(error))?;
    }
    drop(client);
    if context.global.dry_run {
        return dry_run(context, &projections);
    }
    let mut runner = Runner::new(connector);
    for projection in projections {
        let config = args.config(&schema)?;
        runner.add_sql(projection, config, usize::from(args.workers), change)?;
    }
    args.work(context, &runner)
}

/// Everything was checked, and taken back.
fn dry_run(context: &Context, projections: &[SqlProjection]) -> anyhow::Result<Exit> {
    let names: Vec<_> = projections.iter().map(|one| one.name().to_owned()).collect();
    let prepared = Prepared { dry_run: true, projections: names };
    context.output.result(context.name, &prepared, "")?;
    for name in &prepared.projections {
        context.output.say(format!("{name} works on an empty batch"));
    }
    context.output.say("Dry run: nothing was changed");
    Ok(Exit::Done)
}

impl RunArgs {
    fn config(&self, schema: &str) -> Result<ProcessorConfig> {
        let config = ProcessorConfig::default()
            .schema(schema)
            .on_error(self.on_error.into())
            .poll_interval(self.poll_interval);
        let config = match self.batch_size {
            Some(size) => config.batch_size(size as usize),
            None => config.batch_size(1_000).adaptive(),
        };
        Ok(match Slots::from_environment()? {
            Some(slots) => {
                ProcessorConfig { slots, ..config }.strategy(crate::projection::ServerHash)
            }
            None => config,
        })
    }

    fn work(&self, context: &Context, runner: &Runner) -> anyhow::Result<Exit> {
        let output = &context.output;
        let stopper = runner.stopper();
        context.interrupt.on_raise(move || stopper.raise());
        if context.interrupt.is_raised() {
            runner.stopper().raise();
        }
        let begun = Instant::now();
        let watch = runner.watch();
        if !self.until_caught_up {
            output.say("Running until it is stopped: Ctrl-C, or SIGTERM");
        }
        let outcome = thread::scope(|scope| {
            // Nothing is ever sent: it is closed when the runner has ended.
            let (running, ended) = channel::<()>();
            let work = scope.spawn(move || {
                let _running = running;
                if self.until_caught_up { runner.run_until_caught_up() } else { runner.run() }
            });
            let mut bar = FoldBar::new(output);
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TICK) {
                show(&mut bar, &watch);
            }
            work.join()
        });
        let outcome = outcome
            .unwrap_or_else(|_| Err(Error::new(Kind::System, "a thread of the runner panicked")));
        let reports = watch.reports();
        let interrupted = context.interrupt.is_raised() && self.until_caught_up;
        let ran = Ran {
            caught_up: self.until_caught_up && outcome.is_ok() && !interrupted,
            seconds: begun.elapsed().as_secs_f64(),
            projections: reports.into_iter().map(Done::from).collect(),
        };
        if let Err(error) = outcome {
            tell(context, &ran);
            return Err(error.into());
        }
        output.result(context.name, &ran, &text(&ran))?;
        if interrupted {
            context.interrupt.check()?;
        }
        let events: u64 = ran.projections.iter().map(|done| done.events).sum();
        let handled = count(usize::try_from(events).unwrap_or(usize::MAX), "event");
        output.say(format!("Done: {handled} handled in {:.1} s", ran.seconds));
        Ok(Exit::Done)
    }
}

fn show(bar: &mut FoldBar, watch: &Watch) {
    let reports = watch.reports();
    let Some(settled) = watch.settled() else { return };
    let events = reports.iter().map(|report| report.events).sum();
    let Some(last) = reports.iter().min_by_key(|report| report.position) else { return };
    bar.at(&last.projection, last.position, settled, events);
}

impl From<Report> for Done {
    fn from(report: Report) -> Self {
        let Report { projection, events, batches, dead_letters, position, stopped, .. } = report;
        Self { projection, events, batches, dead_letters, position, stopped }
    }
}

/// What was done before something failed.
fn tell(context: &Context, ran: &Ran) {
    for done in ran.projections.iter().filter(|done| done.events > 0) {
        let events = count(usize::try_from(done.events).unwrap_or(usize::MAX), "event");
        context.output.say(format!(
            "{} handled {events} and stands at position {}",
            done.projection, done.position
        ));
    }
}

fn text(ran: &Ran) -> String {
    let rows = ran.projections.iter().map(|done| {
        vec![
            done.projection.clone(),
            done.events.to_string(),
            done.batches.to_string(),
            done.dead_letters.to_string(),
            done.position.to_string(),
        ]
    });
    table(&["projection", "events", "batches", "dead letters", "position"], rows.collect(), 4)
}
