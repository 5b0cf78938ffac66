//! `pupctl partitions detach`

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::detached::Detached;
use crate::cli::argument::duration;
use crate::cli::confirm::confirm;
use crate::cli::exit::Exit;
use crate::cli::output::{count, green, table};
use crate::cli::progress::{Bar, units};
use crate::command::context::{Context, layout_of};
use crate::command::write::{lock_at, refuse_without_rights, watch};
use crate::db::detach::{await_holders, is_pending, publications, references};
use crate::db::inspect::{Depth, one_table};
use crate::db::{Locked, execute, fence};
use crate::error::{Error, Result};
use crate::finding::fence::Laggard;
use crate::layout::Layout;
use crate::operation;
use crate::plan::detach::{self, Departure};
use crate::plan::target::{Located, resolve};
use crate::plan::{Plan, init};
use crate::render::{RenderedStep, Script};
use postgres::Client;

/// How many leaves a question names.
const NAMED_MAX: usize = 5;

/// Take partitions out of events, as tables of their own
///
/// By name, by place or by month: every leaf that is meant, one after the other. Readers and
/// writers go on: before a detach begins, pupctl waits for transactions that would keep it waiting
/// half way. The table keeps its rows, its triggers and a CHECK of its bounds; partitions attach
/// brings it back without reading it. A detach that was interrupted is finished first.
///
/// Events that belong to it are refused from then on. For a context, a hash share, the current
/// month and those to come it therefore asks (--yes).
///
/// Examples:
///   pupctl partitions detach 2026-01
///   pupctl partitions detach Billing/2026-01
///   pupctl partitions detach events_analytics --yes
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DetachArgs {
    /// A partition, a place as partitions list shows it, a month or a context
    #[arg(value_name = "PARTITION")]
    what: String,

    /// Detach in one short transaction, for which everybody is locked out: at once or not at all
    #[arg(long)]
    at_once: bool,

    /// How long to wait for open transactions that have used the table, before it begins
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    patience: Duration,
}

#[derive(Debug, Serialize)]
struct Detachment {
    dry_run: bool,
    changed: bool,
    /// What was detached, or with `--dry-run` would be.
    detached: Vec<DetachedRow>,
    /// The partitions whose pending detach was finished.
    finished: Vec<String>,
    steps: Vec<RenderedStep>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct DetachedRow {
    name: String,
    parent: String,
    place: String,
    concurrently: bool,
}

/// All that is to be done.
struct Work<'a> {
    layout: &'a Layout,
    /// Pupctl's own tables, and detaches that are finished first.
    before: Plan,
    finished: Vec<String>,
    departures: Vec<Departure<'a>>,
    notes: Vec<String>,
}

pub(super) fn run(args: &DetachArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open_for_writing()?;
    let depth = Depth { details: true, ..Depth::default() };
    if context.global.dry_run {
        let catalog = context.inspect(&mut store.client, &store.schema, depth)?;
        let work = args.work(&catalog, &mut store.client)?;
        return Ok(work.report(context, args, true)?);
    }
    let (mut locked, catalog) = lock_at(context, store, depth)?;
    let work = args.work(&catalog, locked.client())?;
    if work.is_empty() {
        operation::settle(&mut locked, &catalog, context.name, None)?;
    } else {
        refuse_without_rights(&catalog)?;
        work.ask(context, &catalog)?;
        work.warn(context, locked.client(), &catalog)?;
        work.execute(context, &mut locked, args)?;
    }
    locked.release()?;
    Ok(work.report(context, args, false)?)
}

impl DetachArgs {
    fn work<'a>(&self, catalog: &'a Catalog, client: &mut Client) -> Result<Work<'a>> {
        let layout = layout_of(catalog)?;
        let mut work = Work {
            layout,
            before: Plan::default(),
            finished: Vec::new(),
            departures: Vec::new(),
            notes: Vec::new(),
        };
        work.finish_pending(catalog, client)?;
        for leaf in self.leaves(catalog, &mut work, client)? {
            work.depart(self, catalog, leaf, client)?;
        }
        if !work.is_empty() {
            let own = init::own_tables(layout, catalog)?;
            work.before.steps.splice(0..0, own);
        }
        Ok(work)
    }

    /// The leaves that are meant and not on their way out yet.
    fn leaves<'a>(
        &self,
        catalog: &'a Catalog,
        work: &mut Work<'_>,
        client: &mut Client,
    ) -> Result<Vec<Located<'a>>> {
        let target = match resolve(catalog, &self.what) {
            Ok(target) => target,
            Err(error) => {
                let known = detach::detached(catalog, &self.what);
                if known.is_empty() {
                    return Err(error);
                }
                for table in known {
                    work.already(table, client)?;
                }
                return Ok(Vec::new());
            }
        };
        let pending = detach::pending(catalog);
        let leaves = target.leaves.into_iter().filter(|leaf| {
            let above = pending.iter().flat_map(|(_, partition)| partition.walk());
            !above.into_iter().any(|relation| relation.oid == leaf.relation.oid)
        });
        Ok(leaves.collect())
    }
}

impl<'a> Work<'a> {
    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.departures.is_empty()
    }

    fn finish_pending(&mut self, catalog: &Catalog, client: &mut Client) -> Result<()> {
        for (parent, partition) in detach::pending(catalog) {
            let name = &partition.name;
            let comment = one_table(client, &name.schema, &name.name)?.and_then(|t| t.comment);
            let step = detach::finalize(catalog, parent, partition, comment.as_deref());
            self.before.steps.push(step);
            self.finished.push(name.to_string());
            self.notes.push(format!(
                "the detach of {name} from {} was begun and not finished: it is finished first",
                parent.name
            ));
        }
        Ok(())
    }

    /// A table that is detached already; what an interrupted run left is done.
    fn already(&mut self, table: &Detached, client: &mut Client) -> Result<()> {
        self.notes.push(format!("{} is detached from {} already", table.name, table.place));
        let found = one_table(client, &table.name.schema, &table.name.name)?;
        self.before.steps.extend(found.and_then(|found| detach::rest(&found.relation)));
        Ok(())
    }

    fn depart(
        &mut self,
        args: &DetachArgs,
        catalog: &Catalog,
        leaf: Located<'a>,
        client: &mut Client,
    ) -> Result<()> {
        let name = &leaf.relation.name;
        if !leaf.relation.owned {
            let (role, owner) = (&catalog.server.role, &leaf.relation.owner);
            return Err(Error::refused(format!(
                "the role {role} does not own {name}, which {owner} owns"
            ))
            .hint(format!("work as the owner: --role {owner}")));
        }
        refuse_referenced(client, &leaf)?;
        let comment = one_table(client, &name.schema, &name.name)?.and_then(|table| table.comment);
        for publication in publications(client, leaf.relation)? {
            self.notes.push(format!(
                "{name} stays in the publication {publication}, as a table of its own"
            ));
        }
        if leaf.relation.details.constraints.iter().any(|constraint| constraint.kind == "f") {
            self.notes.push(format!("{name} keeps its foreign keys to other tables"));
        }
        let departure = detach::depart(catalog, leaf, args.at_once, comment.as_deref())?;
        self.notes.extend(departure.plan.notes.iter().cloned());
        self.departures.push(departure);
        Ok(())
    }

    /// Asks where events that arrive from now on will be refused.
    fn ask(&self, context: &Context, catalog: &Catalog) -> Result<()> {
        let now = catalog.server.month();
        let awaited: Vec<_> = self
            .departures
            .iter()
            .filter(|one| detach::is_awaited(&one.leaf.place, now))
            .map(|one| one.leaf.place.to_string())
            .collect();
        if awaited.is_empty() {
            return Ok(());
        }
        let mut names = awaited[..awaited.len().min(NAMED_MAX)].join(", ");
        if awaited.len() > NAMED_MAX {
            names = format!("{names} and {} more", awaited.len() - NAMED_MAX);
        }
        let question = format!(
            "Events of {names} are refused from then on (pupctl archive would keep the place \
             writable). Go on?"
        );
        confirm(&context.output, context.global.yes, &question)
    }

    /// Tells of projections that have not read what leaves.
    fn warn(&self, context: &Context, client: &mut Client, catalog: &Catalog) -> Result<()> {
        let checkpoints = self.layout.checkpoints(&catalog.schema_name);
        for departure in &self.departures {
            let name = &departure.leaf.relation.name;
            let options = fence::Options::default();
            let fence = fence::look_at_checkpoints(client, name, Some(&checkpoints), &options)?;
            let (mut behind, mut parked) = (Vec::new(), Vec::new());
            for laggard in &fence.laggards {
                match laggard {
                    Laggard::Projection { name, position, .. } => {
                        behind.push(format!("{name} (at {position})"));
                    }
                    Laggard::DeadLetters { projection, events, position } => {
                        let events = count(usize::try_from(*events).unwrap_or(0), "event");
                        parked.push(format!("{projection} ({events}, the first at {position})"));
                    }
                    _ => {}
                }
            }
            if !behind.is_empty() {
                context.output.warn(format!(
                    "projections have not read all of {name}, and will not: {}",
                    behind.join(", ")
                ));
            }
            if !parked.is_empty() {
                context.output.warn(format!(
                    "events of {name} are among the dead letters, and cannot be replayed while \
                     they are not in the store: {}",
                    parked.join(", ")
                ));
            }
        }
        Ok(())
    }

    fn execute(&self, context: &Context, locked: &mut Locked, args: &DetachArgs) -> Result<()> {
        let limits = context.config.lock_limits(context.global.lock_budget)?;
        let before = Script::of(&self.before);
        let scripts: Vec<_> = self.departures.iter().map(|one| Script::of(&one.plan)).collect();
        let total = scripts.iter().flat_map(|script| &script.steps).map(units).sum();
        let mut bar = Bar::new(&context.output, total);
        let whole = Script { steps: scripts.iter().flat_map(|s| s.steps.clone()).collect() };
        let _watch = watch(context, locked, &whole, &bar);
        let tell = bar.teller();
        let mut first = Bar::new(&context.output, 0);
        let interrupt = &context.interrupt;
        operation::run_with(
            locked,
            context.name,
            &before,
            limits,
            interrupt,
            &mut first,
            |locked, _| {
                for (departure, script) in self.departures.iter().zip(&scripts) {
                    if departure.concurrently {
                        let parent = departure.leaf.parent;
                        await_holders(locked.client(), parent, args.patience, interrupt, &tell)?;
                    }
                    execute::execute(locked, &script.steps, limits, interrupt, &mut bar)
                        .map_err(|error| explained(locked, departure, error))?;
                }
                Ok(())
            },
        )
    }

    fn detachment(&self, dry_run: bool) -> Detachment {
        let plans = std::iter::once(&self.before).chain(self.departures.iter().map(|d| &d.plan));
        let steps = if dry_run {
            plans.flat_map(|plan| Script::of(plan).steps).collect()
        } else {
            Vec::new()
        };
        Detachment {
            dry_run,
            changed: !self.is_empty(),
            detached: self.departures.iter().map(row).collect(),
            finished: self.finished.clone(),
            steps,
            notes: self.notes.clone(),
        }
    }

    fn report(&self, context: &Context, args: &DetachArgs, dry_run: bool) -> Result<Exit> {
        let output = &context.output;
        let result = self.detachment(dry_run);
        if dry_run && !output.is_json() {
            if result.changed {
                let script = Script { steps: result.steps.clone() };
                output.data(&script.to_sql(context.name))?;
            }
        } else {
            output.result(context.name, &result, &listed(&result.detached))?;
        }
        for note in &result.notes {
            output.say(format!("note: {note}"));
        }
        match (dry_run, result.changed) {
            (true, true) => {
                let steps = count(result.steps.len(), "step");
                output.say(format!("Dry run: {steps}, nothing was changed"));
            }
            (_, false) => output.say(format!("Nothing to do: {} is detached", args.what)),
            (false, true) => {
                let what = count(result.detached.len(), "partition");
                let finished = match result.finished.len() {
                    0 => String::new(),
                    number => format!(", {} finished", count(number, "pending detach")),
                };
                output.say(format!("{} {what} detached{finished}", green("Done:")));
            }
        }
        Ok(Exit::Done)
    }
}

fn row(departure: &Departure<'_>) -> DetachedRow {
    let Located { relation, parent, place } = &departure.leaf;
    DetachedRow {
        name: relation.name.to_string(),
        parent: parent.name.to_string(),
        place: place.to_string(),
        concurrently: departure.concurrently,
    }
}

fn listed(rows: &[DetachedRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells = |row: &DetachedRow| vec![row.name.clone(), row.parent.clone(), row.place.clone()];
    table(&["table", "was a partition of", "holds"], rows.iter().map(cells).collect(), 3)
}

/// A detach is refused by the server while a row of another table refers to one that would leave.
fn refuse_referenced(client: &mut Client, leaf: &Located<'_>) -> Result<()> {
    let found = references(client, leaf.relation)?;
    let used: Vec<_> = found.iter().filter(|reference| reference.used).collect();
    if used.is_empty() {
        return Ok(());
    }
    let name = &leaf.relation.name;
    Err(Error::refused(format!("rows of other tables reference events of {name}"))
        .details(used.iter().map(|one| format!("{} by its foreign key {}", one.table, one.name)))
        .hint("delete those rows, or drop the foreign key: a partition cannot leave before"))
}

/// Says so where the detach was left half done.
fn explained(locked: &mut Locked, departure: &Departure<'_>, error: Error) -> Error {
    let leaf = &departure.leaf;
    match is_pending(locked.client(), leaf.relation.oid) {
        Ok(true) => error
            .detail(format!(
                "the detach of {} was begun and is not finished: its rows are invisible",
                leaf.relation.name
            ))
            .hint(format!(
                "run the command again, it finishes it: pupctl partitions detach {}",
                leaf.relation.name
            )),
        _ => error,
    }
}
