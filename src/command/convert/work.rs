//! What every command does that works on a conversion: sessions, limits, the journal.

use std::time::Duration;

use clap::Args;

use crate::catalog::Catalog;
use crate::cli::argument::{bytes, duration};
use crate::cli::progress::ArchiveBar;
use crate::command::context::Context;
use crate::db::Locked;
use crate::db::watch::Watch;
use crate::error::{Error, Result};
use crate::operation;
use crate::operation::convert::pace::Limits;
use crate::operation::convert::record::{self, Record};
use crate::operation::convert::workers::Worker;
use crate::operation::convert::{Converter, Options};
use crate::plan::convert::Strategy;
use crate::projection::Connect;
use crate::render::Script;

/// How much a conversion may take of the server.
#[derive(Debug, Args)]
pub(super) struct WorkArgs {
    /// How many sessions copy, build indexes and compare at the same time
    #[arg(long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,

    /// At most so many rows in a second [default: no limit]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    max_rate: Option<u64>,

    /// Wait while a standby is further behind than this, for example 64MB [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_lag: Option<u64>,

    /// Wait while the commit of another session takes longer than this [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    max_latency: Option<Duration>,

    /// How much of its time each session works, in percent; in between it rests [default: 100]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    load: Option<u8>,

    /// Memory of each session that builds an index, as `maintenance_work_mem` takes it
    #[arg(long, value_name = "SIZE", default_value = "256MB")]
    index_memory: String,
}

impl WorkArgs {
    fn options(&self, context: &Context) -> Result<Options> {
        // The server's own units, so that its message is not the first to tell of a slip.
        bytes(&self.index_memory).map_err(|error| {
            Error::invalid(format!("--index-memory {}: {error}", self.index_memory))
        })?;
        Ok(Options {
            limits: context.config.lock_limits(context.global.lock_budget)?,
            pace: Limits {
                rate: self.max_rate,
                lag: self.max_lag,
                latency: self.max_latency,
                // All of the time is as good as no limit.
                load: self.load.filter(|load| *load < 100),
            },
            memory: self.index_memory.clone(),
        })
    }

    fn workers(&self, context: &Context) -> anyhow::Result<Vec<Worker>> {
        let open = |_| {
            let connector = context.connector()?;
            let client = connector.connect(&format!("pupctl {}", context.name))?;
            let token = client.cancel_token();
            let cancel = Box::new(move || drop(connector.cancel(&token)));
            Ok(Worker { client, cancel })
        };
        (0..self.jobs).map(open).collect()
    }
}

/// Works on a conversion: `begin` gives the one that there is, or begins one; `work` is what is to
/// be done.
pub(super) fn work<T>(
    args: &WorkArgs,
    context: &Context,
    locked: &mut Locked,
    script: &Script,
    begin: impl FnOnce(&mut Locked) -> Result<Record>,
    work: impl FnOnce(&mut Converter<'_>) -> Result<T>,
) -> anyhow::Result<T> {
    let options = args.options(context)?;
    let workers = args.workers(context)?;
    let mut steps = ArchiveBar::new(&context.output);
    let mut bar = ArchiveBar::new(&context.output);
    let interrupt = &context.interrupt;
    let (name, limits) = (context.name, options.limits);
    let done =
        operation::run_with(locked, name, script, limits, interrupt, &mut steps, |locked, _| {
            let record = begin(locked)?;
            let tell = bar.teller();
            let _watch = (record.strategy == Strategy::Attach)
                .then(|| watch(context, locked, tell))
                .flatten();
            let mut converter = Converter {
                locked,
                workers,
                record,
                options: &options,
                interrupt,
                progress: &mut bar,
                heads_after: i64::MIN,
                paused: false,
            };
            work(&mut converter).map_err(|error| interrupt.explain(error))
        })?;
    Ok(done)
}

/// Tells for whom an index that is built concurrently waits. Nobody misses much when there is no
/// session for it.
fn watch(
    context: &Context,
    locked: &mut Locked,
    tell: impl Fn(&str) + Send + 'static,
) -> Option<Watch> {
    let begun = context
        .second_session()
        .and_then(|session| Ok::<_, anyhow::Error>(Watch::begin(locked.client(), session, tell)?));
    begun.inspect_err(|error| tracing::warn!("nobody tells who is waited for: {error:#}")).ok()
}

/// The conversion that goes on, or what to do where there is none.
pub(super) fn ongoing(locked: &mut Locked, catalog: &Catalog) -> Result<Record> {
    let schema = catalog.schema_name.clone();
    record::open(locked.client(), &schema)?.ok_or_else(none)
}

/// That there is none.
pub(super) fn none() -> Error {
    Error::refused("no conversion goes on")
        .hint("begin one: pupctl convert start --partition-by context --dry-run")
}
