//! `pupctl contexts list`

use clap::Args;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::cli::exit::Exit;
use crate::cli::output::{bytes, table};
use crate::command::context::{Context, layout_of, warn_of_differences};
use crate::db::inspect::Depth;
use crate::layout::bounds::Bound;
use crate::layout::{self, Layout, Role, describe};

/// List the bounded contexts of the store
///
/// With how each is divided, its leaves, and rows (estimated) and size where it has partitions of
/// its own.
#[derive(Debug, Args)]
pub struct ListArgs {}

#[derive(Serialize)]
struct List {
    contexts: Vec<ContextRow>,
}

#[derive(Serialize)]
struct ContextRow {
    name: String,
    divided: String,
    partition: Option<String>,
    leaves: usize,
    rows: u64,
    bytes: u64,
}

pub(super) fn run(_args: &ListArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open()?;
    let depth = Depth { sizes: true, indexes: false, ..Depth::default() };
    let catalog = context.inspect(&mut store.client, &store.schema, depth)?;
    let layout = layout_of(&catalog)?;
    warn_of_differences(context, layout, &catalog);
    let contexts: Vec<_> =
        layout.contexts.iter().map(|known| row(layout, &catalog, known)).collect();
    let rows = contexts.iter().map(|row| {
        vec![
            row.name.clone(),
            row.divided.clone(),
            row.partition.clone().unwrap_or_default(),
            row.leaves.to_string(),
            row.rows.to_string(),
            bytes(row.bytes),
        ]
    });
    let head = ["context", "divided", "partition", "leaves", "rows (est.)", "size"];
    let text = table(&head, rows.collect(), 3);
    let empty = contexts.is_empty();
    context.output.result(context.name, &List { contexts }, if empty { "" } else { &text })?;
    if empty {
        context.output.say("The store knows no context yet: pupctl contexts add Identity,Billing");
    }
    Ok(Exit::Done)
}

fn row(layout: &Layout, catalog: &Catalog, known: &layout::Context) -> ContextRow {
    let holds = |partition: &&Relation| {
        partition.bound.as_ref().is_some_and(|bound| bound.covers(&Bound::context(&known.name)))
    };
    let partition = catalog
        .events
        .as_ref()
        .filter(|_| layout.has_context_level())
        .and_then(|table| table.root.partitions.iter().find(holds));
    let leaves = || partition.into_iter().flat_map(Relation::leaves);
    ContextRow {
        name: known.name.clone(),
        divided: if layout.has_context_level() {
            describe(&layout.levels_below(Role::Events, known))
        } else {
            "not by context".to_owned()
        },
        partition: partition.map(|partition| partition.name.to_string()),
        leaves: leaves().count(),
        rows: leaves().filter_map(|leaf| leaf.rows).sum(),
        bytes: leaves().filter_map(|leaf| leaf.size).map(|size| size.table + size.indexes).sum(),
    }
}
