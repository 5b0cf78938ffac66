//! `pupctl partitions close`

use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use postgres::Client;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::cli::argument::duration;
use crate::cli::exit::Exit;
use crate::cli::output::{count, green, table};
use crate::cli::progress::{Bar, units};
use crate::command::context::{Context, layout_of};
use crate::command::write::{lock, refuse_without_rights};
use crate::db::closed::{self, Closed};
use crate::db::inspect::Depth;
use crate::db::{Locked, settled};
use crate::error::{Error, Result};
use crate::finding;
use crate::finding::holder::Holder;
use crate::layout::Role;
use crate::operation;
use crate::operation::transfer::columns;
use crate::plan::close::{Wish, leaves, refuse_clock};
use crate::plan::{self, Plan};
use crate::render::{RenderedStep, Script, close as statements};

/// Seal past months against events that come late
///
/// A closed month has a CHECK on the positions that are in it, so that an event which is said to
/// have happened there, and comes now, is refused in words; readers by position leave the month
/// out. Its rows are frozen, so that VACUUM never reads them again, and a digest of them is
/// recorded. Writers of the month itself wait some milliseconds, nobody else does.
///
/// Only months that are past by the server's clock, and longer than --grace. `partitions reopen`
/// takes it back.
///
/// Examples:
///   pupctl partitions close 2026-01
///   pupctl partitions close Billing/2026-01
///   pupctl partitions close --all-past --grace 1day
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct CloseArgs {
    /// Partitions, places as partitions list shows them, or months in every context
    #[arg(value_name = "PARTITION", required_unless_present = "all_past")]
    what: Vec<String>,

    /// Every month that is past
    #[arg(long, conflicts_with = "what")]
    all_past: bool,

    /// Only the months of this context
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// How long after its end a month may be closed
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    grace: Duration,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    changed: bool,
    closed: Vec<Closed>,
    steps: Vec<RenderedStep>,
}

/// What is to be done, and to which tables.
struct Work {
    before: Plan,
    steps: Vec<RenderedStep>,
    oids: Vec<u32>,
}

pub(super) fn run(args: &CloseArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open_for_writing()?;
    if context.global.dry_run {
        let catalog = context.inspect(&mut store.client, &store.schema, Depth::default())?;
        let work = args.plan(&catalog, &mut store.client)?;
        let changed = !work.oids.is_empty();
        let steps = work.script().steps;
        return report(context, &Report { dry_run: true, changed, closed: Vec::new(), steps });
    }
    let (mut locked, catalog) = lock(context, store)?;
    let work = args.plan(&catalog, locked.client())?;
    let mut done = Vec::new();
    if work.oids.is_empty() {
        operation::settle(&mut locked, &catalog, context.name, None)?;
    } else {
        refuse_without_rights(&catalog)?;
        execute(context, &mut locked, &catalog, &work)?;
        done = closed::list(locked.client(), &catalog.schema_name)?;
        done.retain(|closed| work.oids.contains(&closed.oid));
    }
    locked.release()?;
    let changed = !work.oids.is_empty();
    report(context, &Report { dry_run: false, changed, closed: done, steps: Vec::new() })
}

impl CloseArgs {
    fn plan(&self, catalog: &Catalog, client: &mut Client) -> Result<Work> {
        let layout = layout_of(catalog)?;
        plan::tables::refuse_differences(layout, catalog)?;
        finding::detach::refuse_pending(catalog)?;
        let schema = &catalog.schema_name;
        let grace = TimeDelta::from_std(self.grace)
            .map_err(|_| Error::invalid("--grace is longer than any month is old"))?;
        let wish = Wish {
            words: &self.what,
            all_past: self.all_past,
            context: self.context.as_deref(),
            grace,
        };
        let all: Vec<u32> =
            catalog.events.iter().flat_map(|e| e.root.leaves()).map(|leaf| leaf.oid).collect();
        let states = closed::states(client, schema, &all)?;
        let leaves = leaves(catalog, &wish, &states)?;
        let mut work = Work { before: Plan::default(), steps: Vec::new(), oids: Vec::new() };
        if leaves.is_empty() {
            return Ok(work);
        }
        let events = layout.table(schema, Role::Events);
        refuse_clock(catalog.server.now, closed::newest(client, &events)?, grace)?;
        let columns = columns(client, &events)?;
        work.before.steps.extend(plan::init::own_tables(layout, catalog)?);
        for leaf in leaves {
            let state = states.get(&leaf.relation.oid).copied().unwrap_or_default();
            work.steps.extend(statements::close(schema, &leaf, &columns, state));
            work.oids.push(leaf.relation.oid);
        }
        Ok(work)
    }
}

impl Work {
    fn script(&self) -> Script {
        let mut script = Script::of(&self.before);
        script.steps.extend(self.steps.iter().cloned());
        script
    }
}

fn execute(context: &Context, locked: &mut Locked, catalog: &Catalog, work: &Work) -> Result<()> {
    let limits = context.config.lock_limits(context.global.lock_budget)?;
    let script = work.script();
    let mut bar = Bar::new(&context.output, script.steps.iter().map(units).sum());
    let say = bar.teller();
    let mut on_wait = |holders: &[Holder]| {
        let words: Vec<_> = holders.iter().map(ToString::to_string).collect();
        say(&format!("Waiting for writers: {}", words.join("; ")));
    };
    // What is open may still add events to the month: they belong into it, and into its digest.
    let events = layout_of(catalog)?.table(&catalog.schema_name, Role::Events);
    let interrupt = &context.interrupt;
    settled::wait(locked.client(), &events, limits.budget, interrupt, &mut on_wait)?;
    operation::run(locked, context.name, &script, limits, interrupt, &mut bar)
}

fn report(context: &Context, report: &Report) -> anyhow::Result<Exit> {
    let output = &context.output;
    if report.dry_run && !output.is_json() {
        if report.changed {
            output.data(&Script { steps: report.steps.clone() }.to_sql(context.name))?;
        }
    } else {
        let position = |position: Option<i64>| position.map_or("-".to_owned(), |p| p.to_string());
        let rows = report.closed.iter().map(|closed| {
            vec![
                closed.name.clone(),
                closed.rows.to_string(),
                position(closed.first_position),
                position(closed.last_position),
            ]
        });
        let text = table(&["closed", "events", "from", "to"], rows.collect(), 1);
        output.result(context.name, report, &text)?;
    }
    let months = count(report.closed.len(), "partition");
    output.say(match (report.dry_run, report.changed) {
        (true, true) => {
            format!("Dry run: {}, nothing was changed", count(report.steps.len(), "step"))
        }
        (_, false) => "Nothing to do: they are closed".to_owned(),
        (false, true) => format!("{} {months} closed", green("Done:")),
    });
    Ok(Exit::Done)
}
