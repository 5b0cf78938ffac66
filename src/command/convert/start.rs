//! `pupctl convert start`

use clap::{Args, ValueEnum};
use postgres::Client;

use crate::catalog::Catalog;
use crate::cli::argument::bytes;
use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::schema::layout_args::LayoutArgs;
use crate::command::write;
use crate::db::Locked;
use crate::db::inspect::Depth;
use crate::error::{Error, Result};
use crate::operation::convert::back::has_leftovers;
use crate::operation::convert::record::{self, Record};
use crate::plan::convert::Strategy;
use crate::render::Script;

use super::dry_run;
use super::preflight::Preflight;
use super::report::{tell, tell_nothing, tell_planned};
use super::work::{self, WorkArgs};

/// What can be done where another conversion is wanted than the one that goes on.
const ANOTHER: &str =
    "go on with it: pupctl convert resume; or call it off: pupctl convert rollback";

/// Begin to give a store that is not partitioned another layout, while it is used
///
/// Looks at everything that hangs on the tables first, and refuses what it cannot carry over. Then
/// it builds the new tables beside the old ones, copies the events in several sessions, builds keys
/// and indexes, catches up, and compares both tables. Nobody waits for more than a moment. In the
/// end `convert swap` puts the new tables in place.
///
/// While it goes on, UPDATE, DELETE and TRUNCATE of events are refused; appends and reads are not
/// concerned. It can be stopped and killed at any time: `convert resume` goes on, `convert
/// rollback` calls it off.
///
/// Contexts and months come from the events. Read what --dry-run says first.
///
/// Examples:
///   pupctl convert start --partition-by context,month --dry-run
///   pupctl convert start --partition-by context --jobs 4 --max-lag 64MB
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct StartArgs {
    #[command(flatten)]
    pub(super) wish: WishArgs,

    #[command(flatten)]
    pub(super) work: WorkArgs,
}

/// What a store is to become.
#[derive(Debug, Args)]
pub struct WishArgs {
    #[command(flatten)]
    pub(super) layout: LayoutArgs,

    /// Copy the events into new tables, or let the old table be the first partition
    #[arg(long, value_name = "STRATEGY", value_enum, default_value_t = StrategyArg::Copy)]
    strategy: StrategyArg,

    /// Go on although heads do not agree with their events
    #[arg(long)]
    pub(super) allow_deviating_heads: bool,

    /// The space that is free for the new tables, for example 500GB: the server cannot tell it
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(super) free_space: Option<u64>,
}

/// `--strategy`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StrategyArg {
    /// Any layout; needs the space of the table once more
    Copy,
    /// Layouts by month, or by context with one context; copies nothing
    Attach,
}

pub(super) fn run(args: &StartArgs, context: &Context) -> anyhow::Result<Exit> {
    args.wish.layout.check(&context.config)?;
    if context.global.dry_run {
        return args.wish.dry_run(context);
    }
    let store = context.open_for_writing()?;
    let (mut locked, catalog) = write::lock_at(context, store, depth())?;
    let done = |record: &Record| record.is_ready(catalog.server.now);
    if let Some((record, why)) = args.wish.done(context, &mut locked, &catalog, done)? {
        locked.release()?;
        return tell_nothing(context, record.as_ref(), &why);
    }
    let (record, outcome) =
        args.wish.begin(context, &mut locked, &catalog, &args.work, |converter| {
            let outcome = converter.to_ready()?;
            Ok((converter.record.clone(), outcome))
        })?;
    locked.release()?;
    tell(context, &record, outcome)
}

fn depth() -> Depth {
    Depth { sizes: true, details: true, ..Depth::default() }
}

impl WishArgs {
    /// Begins a conversion, or goes on with the one that was begun in the same words.
    pub(super) fn begin<T>(
        &self,
        context: &Context,
        locked: &mut Locked,
        catalog: &Catalog,
        args: &WorkArgs,
        go_on: impl FnOnce(&mut crate::operation::convert::Converter<'_>) -> Result<T>,
    ) -> anyhow::Result<T> {
        let schema = catalog.schema_name.clone();
        if let Some(record) = record::open(locked.client(), &schema)? {
            self.refuse_another(&record, context, catalog)?;
            record::pause(locked.client(), &schema, false)?;
            let script = Script::default();
            return work::work(args, context, locked, &script, |_| Ok(record), go_on);
        }
        write::refuse_without_rights(catalog)?;
        refuse_leftovers(locked.client(), catalog)?;
        let preflight = self.preflight(context, locked.client(), catalog, false)?;
        for note in &preflight.notes {
            context.output.say(format!("note: {note}"));
        }
        let script = Script::of(&preflight.plan);
        let Preflight { before, target, survey, strategy, cutover, .. } = preflight;
        let rows = survey.rows();
        let begin = |locked: &mut Locked| {
            record::begin(locked.client(), &schema, strategy, &before, &target, rows, cutover)
        };
        work::work(args, context, locked, &script, begin, go_on)
    }

    /// The conversion that is as far already, and why nothing is to be done: it was begun in the
    /// same words, or is over and has made the store what is wanted.
    pub(super) fn done(
        &self,
        context: &Context,
        locked: &mut Locked,
        catalog: &Catalog,
        is_done: impl FnOnce(&Record) -> bool,
    ) -> Result<Option<(Option<Record>, String)>> {
        let found = record::find(locked.client(), &catalog.schema_name)?;
        if let Some(record) = found.as_ref().filter(|record| !record.phase.is_over()) {
            self.refuse_another(record, context, catalog)?;
            let why = format!("the conversion is {}", record.phase);
            return Ok(is_done(record).then_some((found, why)));
        }
        let Some(layout) = &catalog.layout else { return Ok(None) };
        let wanted = self.layout.layout(&context.config, Some(catalog))?;
        if wanted.levels.is_empty() || wanted.levels != layout.levels {
            return Ok(None);
        }
        let why = format!("the store is partitioned by {} already", layout.partition_by());
        let lacking = self.layout.lacking(&context.config, layout)?;
        if lacking.is_empty() {
            return Ok(Some((found, why)));
        }
        Err(Error::refused(format!("{why}, with other options"))
            .details(lacking)
            .hint("change them in the store as it is: pupctl schema init"))
    }

    fn refuse_another(&self, record: &Record, context: &Context, catalog: &Catalog) -> Result<()> {
        let wanted = self.layout.layout(&context.config, Some(catalog))?;
        if wanted.levels == record.after.levels && self.strategy() == record.strategy {
            let lacking = self.layout.lacking(&context.config, &record.after)?;
            if lacking.is_empty() {
                return Ok(());
            }
            return Err(Error::refused(format!(
                "a conversion to {} with other options goes on, and is {}",
                record.after.partition_by(),
                record.phase
            ))
            .details(lacking)
            .hint(ANOTHER));
        }
        Err(Error::refused(format!(
            "a conversion to {} ({}) goes on, and is {}",
            record.after.partition_by(),
            record.strategy,
            record.phase
        ))
        .hint(ANOTHER))
    }

    pub(super) fn strategy(&self) -> Strategy {
        match self.strategy {
            StrategyArg::Copy => Strategy::Copy,
            StrategyArg::Attach => Strategy::Attach,
        }
    }

    pub(super) fn dry_run(&self, context: &Context) -> anyhow::Result<Exit> {
        let mut store = context.open()?;
        let catalog = context.inspect(&mut store.client, &store.schema, depth())?;
        if let Some(record) = record::open(&mut store.client, &store.schema)? {
            self.refuse_another(&record, context, &catalog)?;
            context.output.say(format!(
                "Dry run: the conversion to {} is {}; it would go on from there",
                record.after.partition_by(),
                record.phase
            ));
            return tell_planned(context, &record);
        }
        let preflight = self.preflight(context, &mut store.client, &catalog, true)?;
        dry_run::show(context, &preflight, &catalog)
    }
}

/// What an earlier conversion had no time to drop would be taken for the tables of this one.
fn refuse_leftovers(client: &mut Client, catalog: &Catalog) -> Result<()> {
    let Some(last) = record::find(client, &catalog.schema_name)? else { return Ok(()) };
    if !has_leftovers(client, catalog, &last)? {
        return Ok(());
    }
    Err(Error::refused("an earlier conversion was called off, but not all of it is dropped yet")
        .hint("drop the rest: pupctl convert rollback"))
}
