//! `pupctl advise`

mod report;

use clap::Args;

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::doctor::keeps;
use crate::db::workload;
use crate::layout::Role;
use crate::layout::levels::{Level, PartitionBy};
use crate::plan::advise::{Question, advise};

use report::Report;

/// Say which layout a store should have, or that it should not be partitioned
///
/// Looks at how many events there are, how they grow, whose they are and how they are read, at the
/// retention in pupctl.toml and at the server's lock table, and shows what each layout would be
/// like in two years. Reads only: statistics, and of a large table a sample of some 30,000 events.
/// The tables may be pupctl's, pupsourcing's, or a plain table of events.
///
/// Examples:
///   pupctl advise
///   pupctl advise --exact
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct AdviseArgs {
    /// Read all events, however many there are, instead of a sample
    #[arg(long)]
    exact: bool,
}

pub(super) fn run(args: &AdviseArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open()?;
    let keeps = keeps(&context.config)?;
    let tables = context.config.tables();
    let (catalog, workload) = workload::look(&mut store.client, &store.schema, &tables, args.exact)
        .map_err(|error| context.interrupt.explain(error))?;
    let contexts = contexts(context, &catalog);
    let question = Question {
        server: &catalog.server,
        workload: workload.as_ref(),
        current: current(&catalog),
        known: catalog.layout.is_some(),
        keeps: &keeps,
        contexts: &contexts,
        indexes: indexes(&catalog),
    };
    let advice = advise(&question);
    let mut report = Report::new(&catalog, &keeps, &contexts, workload.as_ref(), advice);
    report.run = report.run.map(|command| context.output.commands(&command));
    context.output.result(context.name, &report, &report.text())?;
    Ok(Exit::Done)
}

/// The contexts that are named somewhere, before there are events of them.
fn contexts(context: &Context, catalog: &Catalog) -> Vec<String> {
    let stored = catalog.layout.iter().flat_map(|layout| &layout.contexts);
    let stored = stored.filter(|context| !context.retired).map(|context| context.name.clone());
    let configured = context.config.contexts.iter().map(|context| context.name.clone());
    let mut names: Vec<String> = stored.chain(configured).collect();
    names.sort();
    names.dedup();
    names
}

/// How the events are divided now: by the layout, or as the table itself says.
fn current(catalog: &Catalog) -> Option<PartitionBy> {
    if let Some(layout) = &catalog.layout {
        return layout.partition_by().parse().ok();
    }
    let root = &catalog.events.as_ref()?.root;
    let Some(key) = &root.partition_key else { return Some(PartitionBy::None) };
    let levels = [
        (Level::Context.partition_key(), PartitionBy::Context),
        (Level::Month.partition_key(), PartitionBy::Month),
    ];
    let known = levels.iter().find(|(known, _)| known == key);
    // Anything else that is divided is like a hash to whoever wants to convert it.
    Some(known.map_or(PartitionBy::Hash, |(_, layout)| *layout))
}

/// How many indexes a leaf has: as many as the leaves that are there, at least pupctl's own.
fn indexes(catalog: &Catalog) -> usize {
    let leaves = catalog.events.iter().flat_map(|table| table.root.leaves());
    let most = leaves.map(|leaf: &Relation| leaf.indexes.len()).max().unwrap_or_default();
    most.max(Role::Events.indexes_per_leaf())
}
