//! `pupctl schema baseline`

use clap::Args;
use postgres::Client;

use crate::catalog::Catalog;
use crate::cli::exit::Exit;
use crate::cli::output::count;
use crate::command::context::Context;
use crate::command::write::{changes, execute, lock, refuse_without_rights, report};
use crate::db::heads::deviations;
use crate::db::inspect::Depth;
use crate::error::{Error, Result};
use crate::finding::indexes::BRIN;
use crate::layout::{Layout, Role};
use crate::operation;
use crate::plan::{self, Plan};
use crate::render::{self, Script};

use super::layout_args::LayoutArgs;

/// How many aggregates are listed that deviate.
const LISTED_MAX: u32 = 20;

/// Take over tables that pupctl did not make, such as those of pupsourcing
///
/// Checks them first: columns, keys, how they are divided, and whether every head is the last
/// version of its aggregate, with all versions before it. Then records the migrations that would
/// have made them, and stores the layout. Nothing is changed in the tables themselves but that
/// projection_checkpoints gets columns that may be NULL, and writers and workers go on.
///
/// A unique key serves where pupctl makes a primary key. Further columns and indexes may stay.
///
/// Examples:
///   pupctl schema baseline --partition-by none
///   pupctl schema baseline --partition-by none --dry-run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct BaselineArgs {
    #[command(flatten)]
    layout: LayoutArgs,

    /// Go on although heads do not agree with their events
    #[arg(long)]
    allow_deviating_heads: bool,
}

pub(super) fn run(args: &BaselineArgs, context: &Context) -> anyhow::Result<Exit> {
    args.layout.check(&context.config)?;
    let mut store = context.open_for_writing()?;
    let changes = if context.global.dry_run {
        let catalog = context.inspect(&mut store.client, &store.schema, Depth::default())?;
        let plan = args.plan(context, &mut store.client, &catalog)?;
        changes(&plan, Some(Script::of(&plan)))
    } else {
        let (mut locked, catalog) = lock(context, store)?;
        let plan = args.plan(context, locked.client(), &catalog)?;
        if plan.is_empty() {
            operation::settle(&mut locked, &catalog, context.name, None)?;
        } else {
            refuse_without_rights(&catalog)?;
            execute(context, &mut locked, &plan)?;
        }
        locked.release()?;
        changes(&plan, None)
    };
    let nothing = "Nothing to do: the tables are pupctl's already";
    Ok(report(context, &changes, "the tables are taken over", nothing)?)
}

impl BaselineArgs {
    fn plan(&self, context: &Context, client: &mut Client, catalog: &Catalog) -> Result<Plan> {
        let layout = self.layout.layout(&context.config, Some(catalog))?;
        let mut plan = plan::baseline::plan(&layout, catalog)?;
        if plan.is_empty() {
            return Ok(plan);
        }
        plan.notes.extend(self.heads(client, &layout, catalog)?);
        plan.notes.extend(missing_indexes(catalog));
        Ok(plan)
    }

    /// Refuses heads that do not agree with the events, or notes them where that was allowed.
    fn heads(
        &self,
        client: &mut Client,
        layout: &Layout,
        catalog: &Catalog,
    ) -> Result<Option<String>> {
        let [events, heads] =
            [Role::Events, Role::Heads].map(|role| layout.table(&catalog.schema_name, role));
        let found = deviations(client, &events, &heads, LISTED_MAX, true)?;
        if found.total == 0 {
            return Ok(None);
        }
        let what = format!("{} between {heads} and {events}", count(found.total, "deviation"));
        if self.allow_deviating_heads {
            return Ok(Some(format!("{what}, for example {}", found.first[0])));
        }
        let mut error = Error::refused(what).details(found.first.clone());
        if found.total > found.first.len() {
            error = error.detail(format!("and {} more", found.total - found.first.len()));
        }
        Err(error.hint(
            "a head must be the last version of its aggregate, and its events 1 to that version: \
             mend them, or go on with --allow-deviating-heads",
        ))
    }
}

/// The indexes that pupctl would have made, with the statements that make them while writers go
/// on.
fn missing_indexes(catalog: &Catalog) -> Vec<String> {
    let tables = [&catalog.events, &catalog.heads, &catalog.checkpoints];
    let is_whole = |name| {
        let mut tables = tables.iter().copied().flatten();
        tables.any(|table| table.root.name == name && table.root.is_leaf())
    };
    plan::tables::missing_indexes(catalog)
        .into_iter()
        .map(|missing| {
            let is_events = catalog.events.as_ref().is_some_and(|t| t.root.name == missing.table);
            // A table with partitions takes no index concurrently: it is made leaf by leaf.
            let sql = match (is_whole(missing.table.clone()), is_events) {
                (false, true) => BRIN.to_owned(),
                // Checkpoints are never partitioned.
                (false, false) => {
                    "pupctl schema index add --on heads --columns updated_at".to_owned()
                }
                (true, true) => render::create_brin(&missing.table),
                (true, false) => render::create_index(&missing.table, &["updated_at"]),
            };
            format!("{missing}; make it with: {sql}")
        })
        .collect()
}
