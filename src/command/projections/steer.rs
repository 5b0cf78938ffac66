//! What every command does that changes projections: show it, ask, do it, report it.
//!
//! These commands change rows of one projection, not the store. So they do not take the lock of the
//! store: an archive that runs for hours keeps nobody from pausing a projection.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use postgres::Client;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::cli::argument::duration;
use crate::cli::confirm::confirm;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::progress::ArchiveBar;
use crate::command::context::{Context, layout_of};
use crate::command::write;
use crate::db::inspect::Depth;
use crate::error::Result;
use crate::finding::holder::Holder;
use crate::layout::Layout;
use crate::operation::archive::Progress;
use crate::projection::control::Tables;
use crate::projection::control::change::{self, Change, Planner, Tell, Waiting};
use crate::render::{RenderedStep, Script};

/// How to wait for workers.
#[derive(Debug, Args)]
pub(super) struct PatienceArgs {
    /// How long to wait for batches that run, and for open transactions
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(super) patience: Duration,
}

/// What a command did, or with `--dry-run` would do.
#[derive(Debug, Serialize)]
pub(super) struct Steered {
    dry_run: bool,
    /// Whether there was anything to do.
    pub(super) changed: bool,
    /// The projections that were changed.
    pub(super) projections: Vec<String>,
    /// The statements, with `--dry-run`.
    steps: Vec<RenderedStep>,
    pub(super) notes: Vec<String>,
}

/// A session, and the tables of its store.
#[allow(missing_debug_implementations)]
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) tables: Tables,
    pub(super) layout: Layout,
}

/// The tables of a store, and what was detached from it.
pub(super) fn tables_of(catalog: &Catalog, schema: &str) -> Result<Tables> {
    let detached = catalog.detached.iter().map(|table| (table.name.clone(), table.place.clone()));
    Ok(Tables { detached: detached.collect(), ..Tables::of(layout_of(catalog)?, schema) })
}

/// Tells of contexts that a store does not have which knows all of its own.
pub(super) fn warn_of_unknown(context: &Context, layout: &Layout, names: &[String]) {
    let is_unknown = |name: &&String| layout.context(name).is_none();
    for name in names.iter().filter(is_unknown).filter(|_| layout.has_context_level()) {
        context.output.warn(format!(
            "the store has no context {name}: nothing is read of it until there is one"
        ));
    }
}

/// Connects, and finds the tables by the stored layout.
pub(super) fn open(context: &Context, writes: bool) -> anyhow::Result<Opened> {
    let mut store = if writes { context.open_for_writing()? } else { context.open()? };
    if writes && !context.global.dry_run {
        write::refuse_read_only(&mut store.client)?;
    }
    let depth = Depth { indexes: false, ..Depth::default() };
    let catalog = context.inspect(&mut store.client, &store.schema, depth)?;
    let tables = tables_of(&catalog, &store.schema)?;
    let layout = layout_of(&catalog)?.clone();
    Ok(Opened { client: store.client, tables, layout })
}

/// Does what is planned; with `--dry-run` only plans it. With a question it asks first.
pub(super) fn steer(
    context: &Context,
    client: &mut Client,
    patience: Duration,
    question: Option<&str>,
    plan: Planner<'_>,
) -> anyhow::Result<Steered> {
    if let Some(done) = ask(context, client, question, plan)? {
        return Ok(done);
    }
    Ok(carry_out(context, client, patience, plan)?)
}

/// Plans, and asks. There is an end of it with `--dry-run`, and where nothing is to be done.
pub(super) fn ask(
    context: &Context,
    client: &mut Client,
    question: Option<&str>,
    plan: Planner<'_>,
) -> Result<Option<Steered>> {
    let planned = change::preview(client, plan)?;
    if context.global.dry_run || planned.is_none() {
        return Ok(Some(steered(context.global.dry_run, planned)));
    }
    if let Some(question) = question {
        confirm(&context.output, context.global.yes, question)?;
    }
    Ok(None)
}

/// Does what is planned.
pub(super) fn carry_out(
    context: &Context,
    client: &mut Client,
    patience: Duration,
    plan: Planner<'_>,
) -> Result<Steered> {
    let mut bar = ArchiveBar::new(&context.output);
    bar.phase("Waiting for running batches", None);
    let tell: Tell = Arc::new(bar.teller());
    let mut look = || {
        let session = context.second_session();
        session
            .inspect_err(|error| tracing::warn!("nobody tells who is waited for: {error:#}"))
            .ok()
    };
    let mut waiting = Waiting { patience, interrupt: &context.interrupt, look: &mut look, tell };
    let done = change::run(client, &mut waiting, plan)?;
    drop(bar);
    Ok(steered(false, done))
}

fn steered(dry_run: bool, change: Option<Change>) -> Steered {
    let changed = change.is_some();
    let (mut projections, mut steps, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(change) = change {
        projections = change.names;
        notes = change.notes;
        steps.extend(dry_run.then_some(change.step));
    }
    Steered { dry_run, changed, projections, steps, notes }
}

/// There was nothing to do.
pub(super) fn nothing(dry_run: bool) -> Steered {
    steered(dry_run, None)
}

impl Steered {
    /// What would be done.
    pub(super) fn planned(change: Option<Change>) -> Self {
        steered(true, change)
    }

    /// The statements, with `--dry-run`.
    pub(super) fn steps(&self) -> &[RenderedStep] {
        &self.steps
    }

    /// What came before it, for the report.
    pub(super) fn after(mut self, steps: Vec<RenderedStep>, changed: bool) -> Self {
        self.steps.splice(0..0, steps);
        self.changed |= changed;
        self
    }
}

/// Prints what was done, or the SQL.
pub(super) fn report(
    context: &Context,
    steered: &Steered,
    done: &str,
    nothing: &str,
) -> Result<Exit> {
    let output = &context.output;
    if steered.dry_run && !output.is_json() {
        if steered.changed {
            output.data(&Script { steps: steered.steps.clone() }.to_sql(context.name))?;
        }
    } else {
        output.result(context.name, steered, "")?;
    }
    for note in &steered.notes {
        output.say(format!("note: {note}"));
    }
    match (steered.dry_run, steered.changed) {
        (_, false) => output.say(format!("Nothing to do: {nothing}")),
        (true, true) => {
            let steps = output::count(steered.steps.len(), "step");
            output.say(format!("Dry run: {steps}, nothing was changed"));
        }
        (false, true) => output.say(format!("{} {done}", output::green("Done:"))),
    }
    Ok(Exit::Done)
}

/// Tells for whose transactions is waited.
pub(super) fn tell_holders(context: &Context) -> impl FnMut(&[Holder]) + '_ {
    |holders| {
        for holder in holders {
            context.output.say(format!("Waiting for {holder}"));
        }
    }
}
