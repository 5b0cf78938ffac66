//! `pupctl projections delete`

use clap::Args;
use postgres::{Client, Transaction};

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::write;
use crate::db::execute::Silent;
use crate::db::inspect::Depth;
use crate::error::Result;
use crate::operation;
use crate::projection::control::delete::{self, Delete};
use crate::projection::control::{Tables, status};
use crate::render::Script;

use super::steer::{self, Opened, PatienceArgs, Steered, open, report};
use super::words;

/// Forget a projection: its checkpoints, its dead letters, and its tables if that is wished
///
/// In one transaction, which waits for the batches that run at the moment. Stop its workers first:
/// one that begins later begins at the start. Cannot be undone. Asks (--yes).
///
/// Examples:
///   pupctl projections delete order_totals
///   pupctl projections delete order_totals --read-model
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DeleteArgs {
    /// The projection
    #[arg(value_name = "NAME")]
    name: String,

    /// Drop the tables that the projection fills, in the same transaction
    #[arg(long)]
    read_model: bool,

    /// The checkpoints of other libraries too that are called NAME or NAME_p0: stop their workers
    /// first
    #[arg(long)]
    foreign: bool,

    #[command(flatten)]
    patience: PatienceArgs,
}

pub(super) fn run(args: &DeleteArgs, context: &Context) -> anyhow::Result<Exit> {
    let steered = if args.read_model && !context.global.dry_run {
        args.run_locked(context)?
    } else {
        let Opened { mut client, tables, .. } = open(context, true)?;
        let question = args.question(context, &mut client, &tables)?;
        let patience = args.patience.patience;
        steer::steer(context, &mut client, patience, Some(&question), &mut |transaction| {
            delete::plan(transaction, &tables, &args.wish())
        })?
    };
    let tables = if args.read_model { " and its tables" } else { "" };
    let done = format!("{}{tables} deleted", args.name);
    Ok(report(context, &steered, &done, "it is gone")?)
}

impl DeleteArgs {
    /// Dropping tables is a change of the store: one at a time, and in the journal.
    fn run_locked(&self, context: &Context) -> anyhow::Result<Steered> {
        let depth = Depth { indexes: false, ..Depth::default() };
        let (mut locked, catalog) = write::lock_at(context, context.open_for_writing()?, depth)?;
        let tables = steer::tables_of(&catalog, locked.schema())?;
        let wish = self.wish();
        let question = self.question(context, locked.client(), &tables)?;
        let plan =
            &mut |transaction: &mut Transaction<'_>| delete::plan(transaction, &tables, &wish);
        let client = locked.client();
        if let Some(done) = steer::ask(context, client, Some(&question), plan)? {
            return Ok(done);
        }
        let limits = context.config.lock_limits(context.global.lock_budget)?;
        let steered = operation::run_with(
            &mut locked,
            context.name,
            &Script::default(),
            limits,
            &context.interrupt,
            &mut Silent,
            |locked, _| steer::carry_out(context, locked.client(), self.patience.patience, plan),
        )?;
        locked.release()?;
        Ok(steered)
    }

    fn wish(&self) -> Delete {
        let Self { name, foreign, read_model, .. } = self;
        Delete { name: name.clone(), foreign: *foreign, read_model: *read_model }
    }

    fn question(&self, context: &Context, client: &mut Client, tables: &Tables) -> Result<String> {
        let name = Some(self.name.as_str());
        let found = status::look(client, tables, name, false, &context.interrupt)?.projections;
        let stake = words::at_stake(&found, self.foreign, None);
        let dropped = if self.read_model { ", and its tables are dropped" } else { "" };
        Ok(format!("{stake} go for good{dropped}. Go on?"))
    }
}
