//! `pupctl partitions list`

use std::collections::HashSet;

use clap::Args;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::cli::exit::Exit;
use crate::cli::output::{bytes, table};
use crate::command::context::{Context, layout_of, warn_of_differences};
use crate::db::closed;
use crate::db::inspect::Depth;
use crate::error::{Error, Result};
use crate::layout::bounds::Bound;
use crate::layout::{Layout, Role};

/// List the partitions as a tree, with bounds, rows and sizes
///
/// Rows are the planner's estimates; `-` where nothing has counted yet.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only the partitions of this context
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Also the partitions of aggregate_heads
    #[arg(long)]
    heads: bool,
}

#[derive(Serialize)]
struct List {
    partitions: Vec<PartitionRow>,
    totals: Vec<Total>,
}

#[derive(Serialize)]
struct PartitionRow {
    #[serde(skip)]
    oid: u32,
    table: Role,
    name: String,
    parent: String,
    depth: usize,
    bound: Option<Bound>,
    partition_key: Option<String>,
    leaf: bool,
    detach_pending: bool,
    closed: bool,
    rows: Option<u64>,
    table_bytes: u64,
    index_bytes: u64,
}

#[derive(Serialize)]
struct Total {
    table: Role,
    name: String,
    leaves: usize,
    rows: u64,
    table_bytes: u64,
    index_bytes: u64,
}

pub(super) fn run(args: &ListArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open()?;
    let depth = Depth { sizes: true, indexes: false, ..Depth::default() };
    let catalog = context.inspect(&mut store.client, &store.schema, depth)?;
    warn_of_differences(context, layout_of(&catalog)?, &catalog);
    args.refuse_unknown_context(layout_of(&catalog)?)?;
    let closed: HashSet<u32> =
        closed::list(&mut store.client, &store.schema)?.iter().map(|closed| closed.oid).collect();
    let mut list = list(args, &catalog);
    for row in &mut list.partitions {
        row.closed = closed.contains(&row.oid);
    }
    context.output.result(context.name, &list, &text(&list))?;
    Ok(Exit::Done)
}

impl ListArgs {
    fn refuse_unknown_context(&self, layout: &Layout) -> Result<()> {
        let Some(name) = &self.context else { return Ok(()) };
        if !layout.has_context_level() {
            return Err(Error::invalid("the partitions of this store are not divided by context")
                .hint("leave out --context"));
        }
        if layout.context(name).is_some() {
            return Ok(());
        }
        let known: Vec<_> = layout.contexts.iter().map(|known| known.name.as_str()).collect();
        Err(Error::invalid(format!("the store knows no context {name}"))
            .hint(format!("it knows {}", known.join(", "))))
    }
}

fn list(args: &ListArgs, catalog: &Catalog) -> List {
    let mut list = List { partitions: Vec::new(), totals: Vec::new() };
    let roles: &[Role] = if args.heads { &[Role::Events, Role::Heads] } else { &[Role::Events] };
    for &role in roles {
        let Some(table) = catalog.table(role) else { continue };
        let begin = list.partitions.len();
        for partition in &table.root.partitions {
            let wanted = args.context.as_ref().is_none_or(|name| {
                partition.bound.as_ref().is_some_and(|b| b.covers(&Bound::context(name)))
            });
            if wanted {
                collect(role, partition, &table.root, 0, &mut list.partitions);
            }
        }
        if table.root.is_leaf() {
            list.partitions.push(row(role, &table.root, &table.root, 0));
        }
        let leaves = || list.partitions[begin..].iter().filter(|row| row.leaf);
        list.totals.push(Total {
            table: role,
            name: table.root.name.to_string(),
            leaves: leaves().count(),
            rows: leaves().filter_map(|row| row.rows).sum(),
            table_bytes: leaves().map(|row| row.table_bytes).sum(),
            index_bytes: leaves().map(|row| row.index_bytes).sum(),
        });
    }
    list
}

fn collect(
    role: Role,
    partition: &Relation,
    parent: &Relation,
    depth: usize,
    rows: &mut Vec<PartitionRow>,
) {
    rows.push(row(role, partition, parent, depth));
    for below in &partition.partitions {
        collect(role, below, partition, depth + 1, rows);
    }
}

/// A branch holds no rows: its numbers are the sums of its leaves.
fn row(role: Role, partition: &Relation, parent: &Relation, depth: usize) -> PartitionRow {
    let sizes = || partition.leaves().filter_map(|leaf| leaf.size);
    let counted = partition.leaves().any(|leaf| leaf.rows.is_some());
    PartitionRow {
        oid: partition.oid,
        table: role,
        name: partition.name.to_string(),
        parent: parent.name.to_string(),
        depth,
        bound: partition.bound.clone(),
        partition_key: partition.partition_key.clone(),
        leaf: partition.is_leaf(),
        detach_pending: partition.detach_pending,
        closed: false,
        rows: counted.then(|| partition.leaves().filter_map(|leaf| leaf.rows).sum()),
        table_bytes: sizes().map(|size| size.table).sum(),
        index_bytes: sizes().map(|size| size.indexes).sum(),
    }
}

fn text(list: &List) -> String {
    let mut rows: Vec<Vec<String>> = list
        .partitions
        .iter()
        .map(|row| {
            let mut holds = row.bound.as_ref().map_or("everything".to_owned(), ToString::to_string);
            if row.detach_pending {
                holds.push_str(" (detach pending)");
            }
            if row.closed {
                holds.push_str(" (closed)");
            }
            vec![
                format!("{}{}", "  ".repeat(row.depth), row.name),
                holds,
                row.rows.map_or("-".to_owned(), |rows| rows.to_string()),
                bytes(row.table_bytes),
                bytes(row.index_bytes),
            ]
        })
        .collect();
    for total in &list.totals {
        rows.push(vec![
            format!("{} in all", total.name),
            crate::cli::output::count(total.leaves, "leaf").replace("leafs", "leaves"),
            total.rows.to_string(),
            bytes(total.table_bytes),
            bytes(total.index_bytes),
        ]);
    }
    table(&["partition", "holds", "rows (est.)", "table", "indexes"], rows, 2)
}
