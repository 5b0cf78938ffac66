//! `pupctl projections init`

use clap::{Args, ValueEnum};

use crate::cli::argument::value;
use crate::cli::exit::Exit;
use crate::cli::progress::{Bar, units};
use crate::command::context::{Context, layout_of};
use crate::command::write;
use crate::db::inspect::Depth;
use crate::error::{Error, Result};
use crate::operation;
use crate::plan::{self, Plan};
use crate::projection::control::init::{self, Init};
use crate::projection::control::read_model;
use crate::projection::control::start::{self, Start};
use crate::projection::{Fnv1a, ServerHash, name};
use crate::render::{RenderedStep, Script};

use super::steer::{self, Opened, PatienceArgs, report, steer, tell_holders, warn_of_unknown};

/// Make the tables ready for projections, and the checkpoints of one
///
/// Brings pupctl's own tables up to date, which a store needs that an older pupctl made. With a
/// NAME it then makes the checkpoints of that projection, one for each slot, all or none. Workers
/// make missing ones themselves when they start: this is for who wants to decide beforehand how
/// many slots there are, and where it begins. A second run says that there is nothing to do.
///
/// Examples:
///   pupctl projections init
///   pupctl projections init order_totals --slots 16 --contexts Sales --tables order_totals
///   pupctl projections init audit --from end
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct InitArgs {
    /// The projection
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// How many slots it has, best a power of two: so many workers can share it [default: 1]
    #[arg(long, value_name = "NUMBER", requires = "name")]
    slots: Option<u32>,

    /// The hash of the aggregate's id by which events are divided [default: hashtextextended]
    #[arg(long, value_enum, requires = "name")]
    hash: Option<Hash>,

    /// Where it begins: start, end, or after a position [default: start]
    #[arg(long, value_name = "WHERE", value_parser = value::<Start>, requires = "name")]
    from: Option<Start>,

    /// The contexts that it reads, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "name")]
    contexts: Option<Vec<String>>,

    /// The types of aggregates that it reads, separated by commas [default: all]
    #[arg(long, value_name = "TYPES", value_delimiter = ',', requires = "name")]
    aggregates: Option<Vec<String>>,

    /// The tables that it fills, as in SQL, for reset and delete [default: none]
    #[arg(long, value_name = "TABLES", value_delimiter = ',', requires = "name")]
    tables: Option<Vec<String>>,

    #[command(flatten)]
    patience: PatienceArgs,
}

/// The hashes that pupctl knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Hash {
    /// The server's: each worker is sent its own events alone
    #[value(name = "hashtextextended")]
    Server,
    /// That of pupsourcing's workers, in Go's hash/fnv
    #[value(name = "fnv1a32")]
    Fnv1a,
}

impl Hash {
    fn name(self) -> &'static str {
        match self {
            Self::Server => ServerHash::NAME,
            Self::Fnv1a => Fnv1a::NAME,
        }
    }
}

pub(super) fn run(args: &InitArgs, context: &Context) -> anyhow::Result<Exit> {
    args.check()?;
    let (mut opened, steps, applied) = bring_up_to_date(context)?;
    let nothing = |changed: &steer::Steered| match &args.name {
        Some(name) => report(context, changed, &format!("{name} is ready"), "it is there"),
        None => report(context, changed, "the tables are up to date", "the tables are up to date"),
    };
    let Some(name) = &args.name else {
        let changed = steer::nothing(context.global.dry_run).after(steps, applied);
        return Ok(nothing(&changed)?);
    };
    let wish = args.wish(context, &mut opened, name)?;
    let tables = opened.tables.clone();
    let steered = steer(context, &mut opened.client, args.patience.patience, None, &mut |tx| {
        init::plan(tx, &tables, &wish)
    })?;
    Ok(nothing(&steered.after(steps, applied))?)
}

/// The pending migrations of pupctl's own tables: applied under the lock of the store, or with
/// `--dry-run` only rendered. Where there are none, nobody is kept waiting.
fn bring_up_to_date(context: &Context) -> anyhow::Result<(Opened, Vec<RenderedStep>, bool)> {
    let mut store = context.open_for_writing()?;
    let depth = Depth { indexes: false, ..Depth::default() };
    let catalog = context.inspect(&mut store.client, &store.schema, depth)?;
    let tables = steer::tables_of(&catalog, &store.schema)?;
    let layout = layout_of(&catalog)?.clone();
    let script = |catalog| -> Result<Script> {
        let steps = plan::init::own_tables(layout_of(catalog)?, catalog)?;
        Ok(Script::of(&Plan { steps, ..Plan::default() }))
    };
    let pending = script(&catalog)?;
    if pending.steps.is_empty() || context.global.dry_run {
        if !context.global.dry_run {
            write::refuse_read_only(&mut store.client)?;
        }
        let is_pending = !pending.steps.is_empty();
        return Ok((Opened { client: store.client, tables, layout }, pending.steps, is_pending));
    }
    let (mut locked, catalog) = write::lock_at(context, store, depth)?;
    let pending = script(&catalog)?;
    if !pending.steps.is_empty() {
        write::refuse_without_rights(&catalog)?;
        let limits = context.config.lock_limits(context.global.lock_budget)?;
        let mut bar = Bar::new(&context.output, pending.steps.iter().map(units).sum());
        let interrupt = &context.interrupt;
        operation::run(&mut locked, context.name, &pending, limits, interrupt, &mut bar)?;
    }
    locked.release()?;
    let client = context.open_for_writing()?.client;
    Ok((Opened { client, tables, layout }, Vec::new(), !pending.steps.is_empty()))
}

impl InitArgs {
    fn check(&self) -> Result<()> {
        let Some(projection) = &self.name else { return Ok(()) };
        name::validate(projection)?;
        name::validate_slots(self.slots.unwrap_or(1))?;
        let names = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
        init::validate_scope(&names(&self.contexts), &names(&self.aggregates))?;
        for table in self.tables.iter().flatten() {
            if read_model::parse(table).is_none() {
                return Err(Error::invalid(format!(
                    "{table:?} is no name of a table as SQL writes it"
                ))
                .hint("write table, schema.table, or \"Table\" with quotes"));
            }
        }
        Ok(())
    }

    fn wish(&self, context: &Context, opened: &mut Opened, name: &str) -> Result<Init> {
        let Opened { client, tables, layout } = opened;
        warn_of_unknown(context, layout, self.contexts.as_deref().unwrap_or_default());
        let start = self.from.unwrap_or_default();
        let (patience, interrupt) = (self.patience.patience, &context.interrupt);
        let tell = &mut tell_holders(context);
        let position = start::settle(client, tables, start, 0, patience, interrupt, tell)?;
        Ok(Init {
            name: name.to_owned(),
            slots: self.slots,
            slot_hash: self.hash.map(|hash| hash.name().to_owned()),
            position,
            asked: self.from.is_some(),
            contexts: self.contexts.clone(),
            aggregates: self.aggregates.clone(),
            tables: self.tables.clone(),
        })
    }
}
