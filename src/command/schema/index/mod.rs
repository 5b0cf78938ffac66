//! `pupctl schema index …`

pub mod add;
pub mod drop;
pub mod reindex;

use clap::{Subcommand, ValueEnum};
use postgres::Client;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::cli::exit::Exit;
use crate::cli::output::{self, count};
use crate::command::context::{Context, layout_of};
use crate::command::write::{Wish, Written, write_wish};
use crate::db::inspect::Depth;
use crate::error::{Error, Result};
use crate::finding;
use crate::plan::index::{Build, IndexAction};
use crate::plan::{self, Action, Plan};
use crate::render::{RenderedStep, Script};

/// Add, drop and rebuild indexes of live tables
///
/// On a partitioned table the work goes leaf by leaf, while readers and writers go on.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "the words are those of the arguments, for the help too")]
pub enum IndexCommand {
    Add(add::AddArgs),
    Drop(drop::DropArgs),
    Reindex(reindex::ReindexArgs),
}

impl IndexCommand {
    /// As the user types it, without the options.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "schema index add",
            Self::Drop(_) => "schema index drop",
            Self::Reindex(_) => "schema index reindex",
        }
    }
}

pub(super) fn run(command: &IndexCommand, context: &Context) -> anyhow::Result<Exit> {
    match command {
        IndexCommand::Add(args) => add::run(args, context),
        IndexCommand::Drop(args) => drop::run(args, context),
        IndexCommand::Reindex(args) => reindex::run(args, context),
    }
}

/// One of the store's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum StoreTable {
    /// The events.
    #[default]
    Events,
    /// The current version of every aggregate.
    Heads,
    /// How far every projection has read.
    Checkpoints,
}

impl StoreTable {
    fn root(self, catalog: &Catalog) -> Result<&Relation> {
        let table = match self {
            Self::Events => &catalog.events,
            Self::Heads => &catalog.heads,
            Self::Checkpoints => &catalog.checkpoints,
        };
        table.as_ref().map(|table| &table.root).ok_or_else(|| {
            Error::refused("the table is missing").hint("make it: pupctl schema init")
        })
    }
}

/// What was done, or with `--dry-run` would be.
#[derive(Debug, Serialize)]
struct IndexChanges {
    dry_run: bool,
    changed: bool,
    indexes: Vec<IndexChange>,
    steps: Vec<RenderedStep>,
    notes: Vec<String>,
}

/// What was done with one index.
#[derive(Debug, Serialize)]
struct IndexChange {
    name: String,
    action: &'static str,
}

/// Plans on a store that can be changed, and does it.
fn change(
    context: &Context,
    question: &'static str,
    plan: impl FnOnce(&Catalog, &mut Client) -> Result<Plan>,
) -> anyhow::Result<Written> {
    let depth = Depth { definitions: true, ..Depth::default() };
    write_wish(context, Wish { depth, question }, |catalog, client| {
        let layout = layout_of(catalog)?;
        finding::detach::refuse_pending(catalog)?;
        let own = plan::init::own_tables(layout, catalog)?;
        let mut plan = plan(catalog, client)?;
        plan.steps.splice(0..0, own);
        Ok(plan)
    })
}

fn report(context: &Context, written: Written, done: &str, nothing: &str) -> Result<Exit> {
    let output = &context.output;
    let changes = IndexChanges {
        dry_run: written.script.is_some(),
        changed: !written.plan.is_empty(),
        indexes: changes(&written.plan),
        steps: written.script.map(|script| script.steps).unwrap_or_default(),
        notes: written.plan.notes,
    };
    if output.is_json() {
        output.json(context.name, &changes)?;
    } else if changes.dry_run && changes.changed {
        output.data(&Script { steps: changes.steps.clone() }.to_sql(context.name))?;
    }
    for note in &changes.notes {
        output.say(format!("note: {note}"));
    }
    match (changes.changed, changes.dry_run) {
        (false, _) => output.say(nothing),
        (true, true) => {
            let steps = count(changes.steps.len(), "step");
            output.say(format!("Dry run: {steps}, nothing was changed"));
        }
        (true, false) => output.say(format!("{} {done}", output::green("Done:"))),
    }
    Ok(Exit::Done)
}

fn changes(plan: &Plan) -> Vec<IndexChange> {
    let actions = plan.steps.iter().flat_map(|step| &step.actions);
    let change = |action: &Action| {
        let Action::Index(action) = action else { return None };
        let (name, action) = match action {
            IndexAction::Create { table, name, build: Build::Parent, .. } => {
                (table.sibling(name.as_str()), "made")
            }
            IndexAction::Create { table, name, .. } => (table.sibling(name.as_str()), "built"),
            IndexAction::Attach { index, .. } => (index.clone(), "attached"),
            IndexAction::Drop { index, .. } => (index.clone(), "dropped"),
            IndexAction::Reindex { index, .. } => (index.clone(), "rebuilt"),
        };
        Some(IndexChange { name: name.to_string(), action })
    };
    actions.filter_map(change).collect()
}

/// `3 built, 1 attached`, for the closing line.
fn told(plan: &Plan) -> String {
    let changes = changes(plan);
    let of = |action: &str| changes.iter().filter(|change| change.action == action).count();
    let words: Vec<_> = ["built", "attached", "rebuilt", "dropped"]
        .into_iter()
        .filter(|action| of(action) > 0)
        .map(|action| format!("{} {action}", of(action)))
        .collect();
    words.join(", ")
}
