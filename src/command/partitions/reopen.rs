//! `pupctl partitions reopen`

use clap::Args;
use postgres::Client;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::cli::exit::Exit;
use crate::cli::output::{count, green};
use crate::cli::progress::{Bar, units};
use crate::command::context::{Context, layout_of};
use crate::command::write::{lock, refuse_without_rights};
use crate::db::closed;
use crate::db::inspect::Depth;
use crate::error::Result;
use crate::finding;
use crate::operation;
use crate::plan::close::meant;
use crate::plan::{self, Plan};
use crate::render::{RenderedStep, Script, close as statements};

/// Let closed months take events again
///
/// Drops the CHECK that `partitions close` made, and what was recorded of the month. Close it again
/// when the late events are in.
///
/// Example:
///   pupctl partitions reopen Billing/2026-01
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ReopenArgs {
    /// Partitions, places as partitions list shows them, or months in every context
    #[arg(value_name = "PARTITION", required = true)]
    what: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    changed: bool,
    reopened: Vec<String>,
    steps: Vec<RenderedStep>,
}

pub(super) fn run(args: &ReopenArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open_for_writing()?;
    if context.global.dry_run {
        let catalog = context.inspect(&mut store.client, &store.schema, Depth::default())?;
        let (names, script) = args.plan(&catalog, &mut store.client)?;
        return report(context, true, names, script.steps);
    }
    let (mut locked, catalog) = lock(context, store)?;
    let (names, script) = args.plan(&catalog, locked.client())?;
    if names.is_empty() {
        operation::settle(&mut locked, &catalog, context.name, None)?;
    } else {
        refuse_without_rights(&catalog)?;
        let limits = context.config.lock_limits(context.global.lock_budget)?;
        let mut bar = Bar::new(&context.output, script.steps.iter().map(units).sum());
        let interrupt = &context.interrupt;
        operation::run(&mut locked, context.name, &script, limits, interrupt, &mut bar)?;
    }
    locked.release()?;
    report(context, false, names, Vec::new())
}

impl ReopenArgs {
    fn plan(&self, catalog: &Catalog, client: &mut Client) -> Result<(Vec<String>, Script)> {
        let layout = layout_of(catalog)?;
        finding::detach::refuse_pending(catalog)?;
        let leaves = meant(catalog, &self.what)?;
        let oids: Vec<u32> = leaves.iter().map(|leaf| leaf.relation.oid).collect();
        let states = closed::states(client, &catalog.schema_name, &oids)?;
        let mut names = Vec::new();
        let mut steps = Vec::new();
        for leaf in &leaves {
            let Some(state) = states.get(&leaf.relation.oid) else { continue };
            let name = leaf.relation.name.to_string();
            if !names.contains(&name) {
                steps.push(statements::reopen(&catalog.schema_name, leaf, state.recorded));
                names.push(name);
            }
        }
        let mut before = Plan::default();
        if !names.is_empty() {
            before.steps.extend(plan::init::own_tables(layout, catalog)?);
        }
        let mut script = Script::of(&before);
        script.steps.extend(steps);
        Ok((names, script))
    }
}

fn report(
    context: &Context,
    dry_run: bool,
    reopened: Vec<String>,
    steps: Vec<RenderedStep>,
) -> anyhow::Result<Exit> {
    let report = Report { dry_run, changed: !reopened.is_empty(), reopened, steps };
    let output = &context.output;
    if dry_run && !output.is_json() {
        if report.changed {
            output.data(&Script { steps: report.steps.clone() }.to_sql(context.name))?;
        }
    } else {
        output.result(context.name, &report, &report.reopened.join("\n"))?;
    }
    output.say(match (dry_run, report.changed) {
        (true, true) => {
            format!("Dry run: {}, nothing was changed", count(report.steps.len(), "step"))
        }
        (_, false) => "Nothing to do: they are open".to_owned(),
        (false, true) => {
            format!("{} {} opened again", green("Done:"), count(report.reopened.len(), "partition"))
        }
    });
    Ok(Exit::Done)
}
