//! `pupctl partitions split`

use std::num::NonZeroU32;

use clap::Args;
use postgres::Client;
use serde::Serialize;
use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::cli::exit::Exit;
use crate::cli::output::{self, count};
use crate::cli::progress::ArchiveBar;
use crate::command::context::{Context, layout_of};
use crate::command::write;
use crate::db::Locked;
use crate::db::execute::{Silent, execute};
use crate::db::inspect::Depth;
use crate::error::{Error, Result};
use crate::finding;
use crate::layout::Layout;
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::operation::transfer::{self, Ending, Note, Retired, Run, Throttle};
use crate::operation::{self, journal};
use crate::plan::split::{KEPT_PREFIX, SPLIT_PREFIX};
use crate::plan::transfer::Transfer;
use crate::plan::{self, Plan};
use crate::projection::Connect;
use crate::render::transfer as statements;
use crate::render::{RenderedStep, Script};

/// The command, as the journal has it.
const COMMAND: &str = "partitions split";

/// How many operations are looked at for one that has split the partition already.
const REMEMBERED: i64 = 1000;

/// Divide a partition that holds several months into months
///
/// For the heap of a store that was converted in place (all months before one), and for any other
/// range of whole months. The rows are copied below a table beside the tree while everybody goes
/// on, by several sessions, into leaves whose keys and indexes are built afterwards; the copy is
/// proven; then the months take the place of the old partition, in one transaction for which
/// writers and readers wait some milliseconds. No row is without a place at any time, and none has
/// two. The old table is dropped when it is proven that the months have every row of it.
///
/// Months without events between others are made too, unless more than 12 in a row are empty. Rows
/// of no month (before the year 1900) stay in a partition for all months before the first.
///
/// Run it again after an interruption: it goes on with what is copied. `pupctl operations abort
/// NAME:split` drops the copy instead.
///
/// Examples:
///   pupctl partitions split events_history --dry-run
///   pupctl partitions split events_history --jobs 4
///   pupctl partitions split events_billing_history --max-rate 20000 --keep
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SplitArgs {
    /// The partition: its name, or its place as `partitions list` shows it
    #[arg(value_name = "PARTITION")]
    partition: String,

    /// How many sessions copy rows and build indexes at the same time
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,

    /// The most rows that are copied in a second
    #[arg(long, value_name = "ROWS_PER_SECOND")]
    max_rate: Option<NonZeroU32>,

    /// Leave the old table where it is, beside the tree, when nothing of it is missing
    #[arg(long)]
    keep: bool,

    /// Leave out the ANALYZE of the parent that follows
    #[arg(long)]
    no_analyze: bool,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    changed: bool,
    partition: Option<String>,
    parent: Option<String>,
    rows: i64,
    into: Vec<String>,
    kept: Option<String>,
    finished: Vec<String>,
    steps: Vec<RenderedStep>,
}

/// All that a run has to do.
struct Work {
    layout: Layout,
    /// What comes before: pupctl's own tables.
    before: Plan,
    transfer: Option<Transfer>,
    columns: Vec<String>,
    /// What earlier runs did not finish, and whether it stays.
    leftovers: Vec<(Retired, bool)>,
}

/// What a run takes along from its plan.
struct Begun {
    /// What the journal says.
    state: Value,
    /// What comes after.
    after: Script,
}

pub(super) fn run(args: &SplitArgs, context: &Context) -> anyhow::Result<Exit> {
    let mut store = context.open_for_writing()?;
    let depth = Depth { definitions: true, ..Depth::default() };
    if context.global.dry_run {
        let catalog = context.inspect(&mut store.client, &store.schema, depth)?;
        let work = args.plan(&catalog, &mut store.client)?;
        let mut steps = work.steps();
        steps.extend(args.after(&work, &catalog).steps);
        return report(context, &work, true, steps);
    }
    let (mut locked, catalog) = write::lock_at(context, store, depth)?;
    transfer::prepare(locked.client())?;
    let work = args.plan(&catalog, locked.client())?;
    if work.is_empty() {
        operation::settle(&mut locked, &catalog, context.name, None)?;
    } else {
        write::refuse_without_rights(&catalog)?;
        args.execute(context, &mut locked, &work, &catalog)?;
    }
    locked.release()?;
    report(context, &work, false, Vec::new())
}

impl SplitArgs {
    fn plan(&self, catalog: &Catalog, client: &mut Client) -> Result<Work> {
        let layout = layout_of(catalog)?;
        plan::tables::refuse_differences(layout, catalog)?;
        finding::detach::refuse_pending(catalog)?;
        let schema = &catalog.schema_name;
        let mut leftovers = Vec::new();
        for (prefix, keep) in [(SPLIT_PREFIX, false), (KEPT_PREFIX, true)] {
            let found = transfer::retired(client, schema, prefix)?;
            leftovers.extend(found.into_iter().map(|retired| (retired, keep)));
        }
        let columns = transfer::columns(client, &layout.table(schema, Role::Events))?;
        let mut work = Work {
            layout: layout.clone(),
            before: Plan::default(),
            transfer: None,
            columns,
            leftovers,
        };
        let site = match plan::split::site(catalog, &self.partition) {
            Ok(site) => site,
            // An earlier run split it, all or all but for the last look.
            Err(_) if !work.leftovers.is_empty() => return Ok(work),
            Err(error) if self.was_split(client, schema)? => {
                tracing::debug!("{error}");
                return Ok(work);
            }
            Err(error) => return Err(error),
        };
        plan::split::refuse_unfit(layout, &site)?;
        transfer::refuse_dependents(client, &site.partition.name)?;
        let held = transfer::months(client, &site.partition.name)?;
        let transfer = plan::split::plan(layout, catalog, &site, &held, self.keep)?;
        transfer::refuse_published(client, schema, &[&transfer])?;
        work.before.steps.extend(plan::init::own_tables(layout, catalog)?);
        work.transfer = Some(transfer);
        Ok(work)
    }

    /// Whether the journal has a run that did it.
    fn was_split(&self, client: &mut Client, schema: &str) -> Result<bool> {
        let done = journal::latest(client, schema, REMEMBERED)?;
        Ok(done.iter().any(|operation| {
            let Some(state) = &operation.state else { return false };
            let names = state["names"].as_array();
            operation.command == COMMAND
                && state["split"] == json!(true)
                && names.is_some_and(|names| names.contains(&json!(self.partition)))
        }))
    }

    fn execute(
        &self,
        context: &Context,
        locked: &mut Locked,
        work: &Work,
        catalog: &Catalog,
    ) -> anyhow::Result<()> {
        let script = Script::of(&work.before);
        let limits = context.config.lock_limits(context.global.lock_budget)?;
        let mut sessions = self.sessions(context, locked, work)?;
        let begun = Begun { state: self.state(catalog), after: self.after(work, catalog) };
        let (name, interrupt) = (context.name, &context.interrupt);
        operation::run_with(
            locked,
            name,
            &script,
            limits,
            interrupt,
            &mut Silent,
            |locked, id| self.divide(context, locked, work, &begun, &mut sessions, id),
        )?;
        Ok(())
    }

    fn divide(
        &self,
        context: &Context,
        locked: &mut Locked,
        work: &Work,
        begun: &Begun,
        sessions: &mut [Client],
        id: i64,
    ) -> Result<()> {
        let limits = context.config.lock_limits(context.global.lock_budget)?;
        let interrupt = &context.interrupt;
        let mut bar = ArchiveBar::new(&context.output);
        let schema = locked.schema().to_owned();
        journal::note(locked.client(), &schema, id, &begun.state)?;
        let mut ended = begun.state.clone();
        ended["split"] = json!(true);
        let note = Some(Note { schema: &schema, operation: id, state: &ended });
        let columns = work.columns.as_slice();
        for (leftover, keep) in &work.leftovers {
            // Where there is more to do, that says so.
            let note = note.filter(|_| work.transfer.is_none());
            let (keep, progress) = (*keep, &mut bar);
            let mut ending = Ending { columns, keep, note, progress, interrupt };
            leftover.finish(locked.client(), &mut ending)?;
        }
        let Some((transfer, (second, workers))) =
            work.transfer.as_ref().zip(sessions.split_first_mut())
        else {
            return Ok(());
        };
        execute(locked, &statements::build(transfer), limits, interrupt, &mut bar)?;
        let events = work.layout.table(&schema, Role::Events);
        let throttle = Throttle::new(self.max_rate);
        let (events, progress) = (&events, &mut bar);
        Run { events, columns, second, workers, throttle, limits, interrupt, note, progress }
            .events(locked, transfer)?;
        execute(locked, &begun.after.steps, limits, interrupt, &mut bar)?;
        forget(locked, &schema, &begun.state, id)
    }

    /// The session for the last rows, and those that copy the others; Ctrl-C cancels what runs in
    /// any of them.
    fn sessions(
        &self,
        context: &Context,
        locked: &mut Locked,
        work: &Work,
    ) -> anyhow::Result<Vec<Client>> {
        if work.transfer.is_none() {
            return Ok(Vec::new());
        }
        let mut sessions = Vec::new();
        for _ in 0..=self.jobs {
            let mut session = context.second_session()?;
            transfer::prepare(&mut session)?;
            sessions.push(session);
        }
        let mut tokens = vec![locked.client().cancel_token()];
        tokens.extend(sessions.iter().map(Client::cancel_token));
        let connector = context.connector()?;
        context.interrupt.on_raise(move || {
            for token in &tokens {
                // Whether it arrived shows in how the statement ends.
                let _ = connector.cancel(token);
            }
        });
        Ok(sessions)
    }

    /// What the journal remembers: the words to go on with, and how the partition was called.
    fn state(&self, catalog: &Catalog) -> Value {
        let mut names = vec![self.partition.clone()];
        if let Ok(site) = plan::split::site(catalog, &self.partition) {
            let place = plan::split::place(&site).to_string();
            let name = &site.partition.name;
            names.extend([name.name.clone(), name.to_string(), place]);
            names.sort();
            names.dedup();
        }
        json!({ "request": self.words(), "subject": self.partition, "names": names })
    }

    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = COMMAND.split(' ').map(str::to_owned).collect();
        words.extend(["--jobs".to_owned(), self.jobs.to_string()]);
        if let Some(rate) = self.max_rate {
            words.extend(["--max-rate".to_owned(), rate.to_string()]);
        }
        let flags = [(self.keep, "--keep"), (self.no_analyze, "--no-analyze")];
        words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, word)| (*word).to_owned()));
        words.extend(["--".to_owned(), self.partition.clone()]);
        words
    }

    fn after(&self, work: &Work, catalog: &Catalog) -> Script {
        let analyze = work.transfer.is_some() && !self.no_analyze;
        let steps = analyze.then(|| plan::ensure::analysis(&work.layout, catalog));
        Script::of(&Plan { steps: steps.into_iter().collect(), ..Plan::default() })
    }
}

/// Earlier runs of the same partition that did not come to their end: this one did.
fn forget(locked: &mut Locked, schema: &str, state: &Value, own: i64) -> Result<()> {
    let rows = journal::unfinished(locked.client(), schema, COMMAND)?;
    let same = |(id, other): &&(i64, Value)| *id != own && other["names"] == state["names"];
    let ids: Vec<_> = rows.iter().filter(same).map(|(id, _)| *id).collect();
    journal::forget(locked.client(), schema, &ids)
}

impl Work {
    fn is_empty(&self) -> bool {
        self.transfer.is_none() && self.leftovers.is_empty()
    }

    fn steps(&self) -> Vec<RenderedStep> {
        let mut steps = Script::of(&self.before).steps;
        if let Some(transfer) = &self.transfer {
            steps.extend(statements::steps(transfer, &self.columns));
        }
        steps
    }
}

/// Drops what a split has copied; the partition stays as it is.
pub(in crate::command) fn abort(word: &str, context: &Context) -> anyhow::Result<Exit> {
    let written = write::write_wish(context, write::Wish::default(), |catalog, _| {
        let site = plan::split::site(catalog, word)?;
        let Some(stage) = plan::split::begun(catalog, &site) else {
            let refused = Error::refused(format!("no split of {word} was begun"));
            return Err(refused.hint("see what was: pupctl operations list"));
        };
        Ok(plan::split::abort(&site, stage))
    })?;
    let steps = written.script.map(|script| script.steps).unwrap_or_default();
    let undone: Vec<_> = written.plan.steps.iter().map(|step| step.title.clone()).collect();
    let dry_run = context.global.dry_run;
    if dry_run && !context.output.is_json() {
        context.output.data(&Script { steps }.to_sql(context.name))?;
        return Ok(Exit::Done);
    }
    let report = json!({ "dry_run": dry_run, "undone": undone });
    context.output.result(context.name, &report, "")?;
    let name = output::green("Done:");
    context
        .output
        .say(format!("{name} the copy of {word} is dropped; it holds its rows as before"));
    Ok(Exit::Done)
}

fn report(
    context: &Context,
    work: &Work,
    dry_run: bool,
    steps: Vec<RenderedStep>,
) -> anyhow::Result<Exit> {
    let name = |name: &QualifiedName| name.to_string();
    let transfer = work.transfer.as_ref();
    let into = transfer.map(Transfer::entering).unwrap_or_default();
    let report = Report {
        dry_run,
        changed: !work.is_empty(),
        partition: transfer.map(|transfer| name(&transfer.source)),
        parent: transfer.map(|transfer| name(transfer.parent())),
        rows: transfer.map_or(0, |transfer| transfer.rows),
        into: into.iter().map(|top| name(top)).collect(),
        kept: transfer.filter(|transfer| transfer.keep).map(|transfer| name(&transfer.retired)),
        finished: work.leftovers.iter().map(|(retired, _)| name(&retired.table)).collect(),
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
    close(context, &report);
    Ok(Exit::Done)
}

fn table(report: &Report) -> String {
    let Some(partition) = &report.partition else { return String::new() };
    let into = match report.into.as_slice() {
        [first, .., last] => format!("{first} to {last}"),
        one => one.concat(),
    };
    let row = vec![partition.clone(), report.rows.to_string(), into];
    output::table(&["partition", "rows", "split into"], vec![row], 1)
}

fn close(context: &Context, report: &Report) {
    let output = &context.output;
    let rows = count(usize::try_from(report.rows).unwrap_or(usize::MAX), "row");
    let done = output::green("Done:");
    let Some(partition) = &report.partition else {
        match (report.changed, report.dry_run) {
            (false, _) => output.say("Nothing to do: it is split already"),
            (true, true) => output.say("Dry run: an earlier split would be finished"),
            (true, false) => output.say(format!("{done} finished an earlier split")),
        }
        return;
    };
    if report.dry_run {
        let steps = count(report.steps.len(), "step");
        output.say(format!("Dry run: {rows} of {partition}, {steps}; nothing was changed"));
        return;
    }
    let into = count(report.into.len(), "partition");
    output.say(format!("{done} {rows} of {partition} are in {into}"));
    if let Some(kept) = &report.kept {
        output.say(format!("The old table is {kept}: drop it when nobody needs it"));
    }
}
