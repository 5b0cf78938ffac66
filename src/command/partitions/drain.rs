//! `pupctl partitions drain`

use clap::Args;
use postgres::Client;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::cli::exit::Exit;
use crate::cli::output::{self, count};
use crate::cli::progress::{ArchiveBar, Bar, units};
use crate::command::context::{Context, layout_of};
use crate::command::write;
use crate::db::Locked;
use crate::db::execute::{Silent, execute};
use crate::db::inspect::Depth;
use crate::error::Result;
use crate::finding;
use crate::layout::name::QualifiedName;
use crate::layout::{self, Layout, Role};
use crate::operation;
use crate::operation::transfer::{self, Ending, Retired, Run, Throttle};
use crate::plan::drain::{DRAINED_PREFIX, Held, Left};
use crate::plan::transfer::{Site, Transfer};
use crate::plan::{self, Plan};
use crate::render::transfer as statements;
use crate::render::{RenderedStep, Script};

/// Move rows out of DEFAULT partitions into the partitions where they belong
///
/// As long as a DEFAULT partition has rows of a month or a context, that month or context cannot
/// get its partition. The rows are copied below a table beside the tree, in batches and while
/// everybody goes on; the copy is proven; then the new partitions and an empty DEFAULT take the
/// place of the old one, in one transaction for which writers wait some milliseconds. No row is
/// without a place at any time, and none has two. The old table is dropped when it is proven that
/// the partitions have every row of it. Heads move in one transaction.
///
/// Rows of contexts that the layout does not know stay, unless --add-contexts is given. Run it
/// again after an interruption: it goes on with what is copied.
///
/// Examples:
///   pupctl partitions drain --dry-run
///   pupctl partitions drain --add-contexts
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DrainArgs {
    /// Make contexts known that only DEFAULT has, as `contexts add` does
    #[arg(long)]
    add_contexts: bool,

    /// Leave out the ANALYZE of the parent that follows
    #[arg(long)]
    no_analyze: bool,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    changed: bool,
    contexts: Vec<String>,
    drained: Vec<DrainedRow>,
    left: Vec<LeftRow>,
    finished: Vec<String>,
    steps: Vec<RenderedStep>,
}

#[derive(Serialize)]
struct DrainedRow {
    table: Role,
    partition: String,
    parent: String,
    rows: i64,
    into: Vec<String>,
}

#[derive(Serialize)]
struct LeftRow {
    partition: String,
    what: String,
    rows: i64,
    why: String,
}

/// All that a run has to do.
struct Work {
    layout: Layout,
    contexts: Vec<String>,
    /// What comes before: pupctl's own tables, the layout.
    before: Plan,
    drains: Vec<(Transfer, Vec<String>)>,
    left: Vec<Left>,
    /// What an earlier run did not finish, and the columns of events.
    leftovers: Vec<Retired>,
    columns: Vec<String>,
}

pub(super) fn run(args: &DrainArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open_for_writing()?;
    if context.global.dry_run {
        let catalog = context.inspect(&mut store.client, &store.schema, Depth::default())?;
        let work = args.plan(context, &catalog, &mut store.client)?;
        let mut steps = work.steps();
        steps.extend(args.after(&work, &catalog).steps);
        return report(context, &work, true, steps);
    }
    let (mut locked, catalog) = write::lock(context, store)?;
    transfer::prepare(locked.client())?;
    let work = args.plan(context, &catalog, locked.client())?;
    if work.is_empty() {
        operation::settle(&mut locked, &catalog, context.name, None)?;
    } else {
        write::refuse_without_rights(&catalog)?;
        args.execute(context, &mut locked, &work, &catalog)?;
    }
    locked.release()?;
    report(context, &work, false, Vec::new())
}

impl DrainArgs {
    fn plan(&self, context: &Context, catalog: &Catalog, client: &mut Client) -> Result<Work> {
        let stored = layout_of(catalog)?;
        plan::tables::refuse_differences(stored, catalog)?;
        finding::detach::refuse_pending(catalog)?;
        let mut surveyed: Vec<(Site<'_>, Vec<Held>)> = Vec::new();
        for site in plan::drain::sites(catalog) {
            let held = transfer::survey(client, &site)?;
            surveyed.push((site, held));
        }
        surveyed.retain(|(_, held)| !held.is_empty());
        let unknown = plan::drain::unknown_contexts(stored, &surveyed);
        let layout = if self.add_contexts {
            let configured = context.config.contexts()?;
            let new = |name: &String| {
                let known = configured.iter().find(|known| known.name == *name);
                known.cloned().unwrap_or_else(|| layout::Context::new(name))
            };
            plan::drain::with_contexts(stored, catalog, unknown.iter().map(new).collect())?
        } else {
            stored.clone()
        };
        let mut work = Work {
            contexts: unknown.into_iter().filter(|name| layout.context(name).is_some()).collect(),
            before: Plan::default(),
            drains: Vec::new(),
            left: Vec::new(),
            leftovers: transfer::retired(client, &catalog.schema_name, DRAINED_PREFIX)?,
            columns: transfer::columns(client, &layout.table(&catalog.schema_name, Role::Events))?,
            layout,
        };
        for (site, held) in &surveyed {
            let (planned, left) = plan::drain::plan(&work.layout, catalog, site, held)?;
            work.left.extend(left);
            if let Some(planned) = planned {
                let table = work.layout.table(&catalog.schema_name, planned.role);
                let columns = transfer::columns(client, &table)?;
                work.drains.push((planned, columns));
            }
        }
        if !work.is_empty() {
            let drains: Vec<_> = work.drains.iter().map(|(drain, _)| drain).collect();
            transfer::refuse_published(client, &catalog.schema_name, &drains)?;
            work.before.steps.extend(plan::init::own_tables(&work.layout, catalog)?);
            if work.layout != *stored {
                work.before.steps.push(plan::init::store_layout(&work.layout, catalog));
            }
        }
        Ok(work)
    }

    fn execute(
        &self,
        context: &Context,
        locked: &mut Locked,
        work: &Work,
        catalog: &Catalog,
    ) -> anyhow::Result<()> {
        let mut script = Script::of(&work.before);
        for (planned, columns) in &work.drains {
            script.steps.extend(statements::build(planned));
            if planned.role == Role::Heads {
                script.steps.push(statements::heads(planned, columns));
            }
        }
        let after = self.after(work, catalog);
        let limits = context.config.lock_limits(context.global.lock_budget)?;
        let mut second = context.second_session()?;
        transfer::prepare(&mut second)?;
        let mut bar = Bar::new(&context.output, script.steps.iter().map(units).sum());
        let mut moving = ArchiveBar::new(&context.output);
        let events = work.layout.table(&catalog.schema_name, Role::Events);
        let interrupt = &context.interrupt;
        let name = context.name;
        operation::run_with(locked, name, &script, limits, interrupt, &mut bar, |locked, _| {
            for leftover in &work.leftovers {
                let mut ending = Ending {
                    columns: &work.columns,
                    keep: false,
                    note: None,
                    progress: &mut moving,
                    interrupt,
                };
                leftover.finish(locked.client(), &mut ending)?;
            }
            for (planned, columns) in &work.drains {
                if planned.role == Role::Events {
                    let mut run = Run {
                        events: &events,
                        columns,
                        second: &mut second,
                        workers: &mut [],
                        throttle: Throttle::new(None),
                        limits,
                        interrupt,
                        note: None,
                        progress: &mut moving,
                    };
                    run.events(locked, planned)?;
                }
            }
            complete(context, locked, work)?;
            execute(locked, &after.steps, limits, interrupt, &mut Silent)
        })?;
        Ok(())
    }

    fn after(&self, work: &Work, catalog: &Catalog) -> Script {
        let moves = work.drains.iter().any(|(drain, _)| drain.role == Role::Events);
        let analyze = moves && !self.no_analyze;
        let steps = analyze.then(|| plan::ensure::analysis(&work.layout, catalog));
        Script::of(&Plan { steps: steps.into_iter().collect(), ..Plan::default() })
    }
}

impl Work {
    fn is_empty(&self) -> bool {
        self.drains.is_empty() && self.leftovers.is_empty()
    }

    fn steps(&self) -> Vec<RenderedStep> {
        let mut steps = Script::of(&self.before).steps;
        for (planned, columns) in &self.drains {
            steps.extend(statements::steps(planned, columns));
        }
        steps
    }
}

/// New contexts have all their partitions, in both tables.
fn complete(context: &Context, locked: &mut Locked, work: &Work) -> Result<()> {
    if work.contexts.is_empty() {
        return Ok(());
    }
    let schema = locked.schema().to_owned();
    let catalog = context.inspect(locked.client(), &schema, Depth::default())?;
    let months = plan::ensure::months(&catalog, work.layout.months_ahead, None)?;
    let plan = plan::ensure::plan(&work.layout, &catalog, &months)?;
    let limits = context.config.lock_limits(context.global.lock_budget)?;
    execute(locked, &Script::of(&plan).steps, limits, &context.interrupt, &mut Silent)
}

fn report(
    context: &Context,
    work: &Work,
    dry_run: bool,
    steps: Vec<RenderedStep>,
) -> anyhow::Result<Exit> {
    let name = |name: &QualifiedName| name.to_string();
    let drained = work.drains.iter().map(|(drain, _)| DrainedRow {
        table: drain.role,
        partition: name(&drain.source),
        parent: name(drain.parent()),
        rows: drain.rows,
        into: drain.tops.iter().map(|(top, _)| name(top)).collect(),
    });
    let left = work.left.iter().map(|left| LeftRow {
        partition: name(&left.default),
        what: left.what.clone(),
        rows: left.rows,
        why: left.why.clone(),
    });
    let report = Report {
        dry_run,
        changed: !work.is_empty(),
        contexts: work.contexts.clone(),
        drained: drained.collect(),
        left: left.collect(),
        finished: work.leftovers.iter().map(|drained| name(&drained.table)).collect(),
        steps,
    };
    let output = &context.output;
    if dry_run && !output.is_json() {
        if report.changed {
            output.data(&Script { steps: report.steps.clone() }.to_sql(context.name))?;
        }
    } else {
        output.result(context.name, &report, &table(&report))?;
    }
    for left in &report.left {
        let rows = count(usize::try_from(left.rows).unwrap_or(usize::MAX), "row");
        output.say(format!("{}: {rows} of {} stay: {}", left.partition, left.what, left.why));
    }
    close(context, &report);
    Ok(Exit::Done)
}

fn table(report: &Report) -> String {
    let rows = report.drained.iter().map(|row| {
        let into = match row.into.as_slice() {
            [first, .., last] => format!("{first} to {last}"),
            one => one.concat(),
        };
        vec![row.partition.clone(), row.rows.to_string(), into]
    });
    output::table(&["partition", "rows", "moved into"], rows.collect(), 1)
}

fn close(context: &Context, report: &Report) {
    let output = &context.output;
    let rows: i64 = report.drained.iter().map(|row| row.rows).sum();
    let rows = count(usize::try_from(rows).unwrap_or(usize::MAX), "row");
    let from = count(report.drained.len(), "DEFAULT partition");
    match (report.dry_run, report.changed) {
        (true, true) => {
            let steps = count(report.steps.len(), "step");
            output.say(format!("Dry run: {rows} of {from}, {steps}; nothing was changed"));
        }
        (_, false) if report.left.is_empty() => {
            output.say("Nothing to do: no DEFAULT partition has rows");
        }
        (_, false) => output.say("Nothing to do: what DEFAULT partitions have stays there"),
        (false, true) if report.drained.is_empty() => {
            output.say(format!("{} finished an earlier drain", output::green("Done:")));
        }
        (false, true) => {
            output.say(format!("{} {rows} moved out of {from}", output::green("Done:")));
        }
    }
}
