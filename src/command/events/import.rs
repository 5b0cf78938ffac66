//! `pupctl events import`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::cli::exit::Exit;
use crate::cli::output::{self, count};
use crate::cli::progress::{Bar, FileBar, units};
use crate::command::context::{Context, layout_of};
use crate::command::write::{self, Changes};
use crate::db::Locked;
use crate::db::execute::{Silent, execute};
use crate::db::inspect::Depth;
use crate::error::{Error, Result};
use crate::event::import::source::Source;
use crate::event::import::{Check, Checked, Load, Loaded, Options, Store};
use crate::finding;
use crate::layout::{self, Needs};
use crate::operation;
use crate::plan::{self, Plan};
use crate::render::Script;

/// How many problems with lines a dry run lists.
const PROBLEMS_LISTED: usize = 20;

/// Load a file of events into the store, all or nothing
///
/// One JSON object a line, plain, gzip or zstd (docs/reference/events.md). The whole file is
/// checked first: every line, the versions and ids across all of them, and what the store has
/// already. Then it is loaded in one transaction, or in as few as the server's lock table allows;
/// the same command again goes on where it was interrupted. Heads are moved along.
///
/// Examples:
///   pupctl events import history.ndjson.gz --create-partitions
///   pupctl events import history.ndjson.gz --dry-run
///   pupctl events import - --skip-existing
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[expect(clippy::struct_excessive_bools, reason = "switches are independent of each other")]
pub struct ImportArgs {
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Make the contexts and months that the file needs and the store lacks
    #[arg(long)]
    create_partitions: bool,

    /// Leave out the events that the store has already, instead of refusing the file
    #[arg(long)]
    skip_existing: bool,

    /// Fill columns that a team added from fields of their names, instead of refusing these
    #[arg(long)]
    extra_columns: bool,

    /// Refresh the statistics afterwards: autovacuum does so for partitions, never for the whole
    ///
    /// Before PostgreSQL 18 this analyzes every partition too, one after the other.
    #[arg(long)]
    analyze: bool,

    /// The longest line, in MiB; it costs as much memory
    #[arg(long, value_name = "MIB", default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_line: u16,
}

/// What an import did, or with `--dry-run` would do.
#[derive(Debug, Serialize)]
struct Report {
    /// The file.
    file: String,
    /// How many events it holds.
    events: u64,
    /// How many were added.
    imported: u64,
    /// How many were there already.
    existing: u64,
    /// How many of those an import of the same file had loaded that was interrupted.
    resumed: u64,
    /// How many heads were made or moved.
    heads: u64,
    /// In how many transactions.
    transactions: usize,
    /// The events of the file by context; null when there are more than 10,000 contexts.
    contexts: Option<BTreeMap<String, u64>>,
    /// What was made for them.
    #[serde(flatten)]
    changes: Changes,
}

pub(super) fn run(args: &ImportArgs, context: &Context) -> anyhow::Result<Exit> {
    // First of all: a pipe would be read in vain.
    let store = context.open_for_writing()?;
    let source = if args.file == Path::new("-") {
        Source::standard_input(&context.interrupt)?
    } else {
        Source::open(&args.file, &context.interrupt)?
    };
    if context.global.dry_run {
        let mut store = store;
        let catalog = context.inspect(&mut store.client, &store.schema, Depth::default())?;
        return args.dry_run(context, &mut store.client, &catalog, &source);
    }
    let (mut locked, catalog) = write::lock(context, store)?;
    let exit = args.import(context, &mut locked, &catalog, &source)?;
    locked.release()?;
    Ok(exit)
}

impl ImportArgs {
    fn options(&self, context: &Context, problems_max: usize) -> Result<Options> {
        Ok(Options {
            create_partitions: self.create_partitions,
            skip_existing: self.skip_existing,
            extra_columns: self.extra_columns,
            lock_timeout: context.config.lock_limits(context.global.lock_budget)?.budget,
            line_bytes_max: usize::from(self.max_line) * 1024 * 1024,
            problems_max,
        })
    }

    fn dry_run(
        &self,
        context: &Context,
        client: &mut postgres::Client,
        catalog: &Catalog,
        source: &Source,
    ) -> anyhow::Result<Exit> {
        let configured = context.config.contexts()?;
        let store = store(catalog, &configured)?;
        let options = self.options(context, PROBLEMS_LISTED)?;
        let checked = Check { store, source, options, interrupt: &context.interrupt }
            .run(client, &mut FileBar::new(&context.output, source.bytes()))?;
        let plan = self.plan(store, &checked)?;
        let changes = write::changes(&plan, Some(Script::of(&plan)));
        report(context, source, &checked, Loaded::default(), changes)
    }

    fn import(
        &self,
        context: &Context,
        locked: &mut Locked,
        catalog: &Catalog,
        source: &Source,
    ) -> anyhow::Result<Exit> {
        let configured = context.config.contexts()?;
        let store = store(catalog, &configured)?;
        let mut bar = FileBar::new(&context.output, source.bytes());
        let options = self.options(context, 1)?;
        let checked = Check { store, source, options, interrupt: &context.interrupt }
            .run(locked.client(), &mut bar)?;
        if checked.to_load() == 0 {
            drop(bar);
            operation::settle(locked, catalog, context.name, None)?;
            checked.forget(locked)?;
            let nothing = write::changes(&Plan::default(), None);
            return report(context, source, &checked, Loaded::default(), nothing);
        }
        let plan = self.plan(store, &checked)?;
        if !plan.is_empty() {
            write::refuse_without_rights(catalog)?;
        }
        let loaded = self.load(context, locked, &plan, store, source, &checked, bar)?;
        report(context, source, &checked, loaded, write::changes(&plan, None))
    }

    #[expect(clippy::too_many_arguments, reason = "one call, from above")]
    fn load(
        &self,
        context: &Context,
        locked: &mut Locked,
        plan: &Plan,
        store: Store<'_>,
        source: &Source,
        checked: &Checked,
        mut bar: FileBar,
    ) -> Result<Loaded> {
        let limits = context.config.lock_limits(context.global.lock_budget)?;
        let script = Script::of(plan);
        let mut steps = Bar::new(&context.output, script.steps.iter().map(units).sum());
        let load = Load {
            store,
            source,
            checked,
            options: self.options(context, 1)?,
            interrupt: &context.interrupt,
        };
        let after = self.after(store);
        let mut made = false;
        operation::run_with(
            locked,
            context.name,
            &script,
            limits,
            &context.interrupt,
            &mut steps,
            |locked, operation| {
                made = true;
                let loaded = load.run(locked, operation, &mut bar)?;
                drop(bar);
                execute(locked, &after.steps, limits, &context.interrupt, &mut Silent)?;
                Ok(loaded)
            },
        )
        .map_err(|error| if made { name_partitions(error, plan) } else { error })
    }

    /// What follows the load.
    fn after(&self, store: Store<'_>) -> Script {
        let steps = self.analyze.then(|| plan::ensure::analysis(store.layout, store.catalog));
        Script::of(&Plan { steps: steps.into_iter().collect(), ..Plan::default() })
    }

    /// What has to be made before the events can go in.
    fn plan(&self, store: Store<'_>, checked: &Checked) -> Result<Plan> {
        let Store { layout, catalog, configured } = store;
        if checked.missing.is_empty() || !self.create_partitions {
            let steps = plan::init::own_tables(layout, catalog)?;
            return Ok(Plan { steps, ..Plan::default() });
        }
        let mut needs = Needs::new();
        for (context, month) in &checked.missing {
            needs.insert(context, *month);
        }
        let plan = plan::history::plan(layout, catalog, &needs, configured)?;
        if plan.problems.is_empty() {
            return Ok(plan);
        }
        Err(Error::refused("the partitions that the file needs cannot all be made")
            .details(plan.problems)
            .hint("pupctl partitions check says more"))
    }
}

fn store<'a>(catalog: &'a Catalog, configured: &'a [layout::Context]) -> Result<Store<'a>> {
    let layout = layout_of(catalog)?;
    plan::tables::refuse_differences(layout, catalog)?;
    finding::detach::refuse_pending(catalog)?;
    Ok(Store { layout, catalog, configured })
}

/// Partitions are not taken away again when the load fails: the next one needs them too.
fn name_partitions(error: Error, plan: &Plan) -> Error {
    let names: Vec<_> = plan.new_partitions().map(|new| new.name.to_string()).collect();
    match names.as_slice() {
        [] => error,
        [only] => error.detail(format!("the partition {only} was made for it, and stays")),
        [first, .., last] => error.detail(format!(
            "{} partitions were made for it, and stay: {first} to {last}",
            names.len()
        )),
    }
}

fn report(
    context: &Context,
    source: &Source,
    checked: &Checked,
    loaded: Loaded,
    changes: Changes,
) -> anyhow::Result<Exit> {
    let output = &context.output;
    let report = Report {
        file: source.name().to_owned(),
        events: checked.events,
        imported: loaded.events,
        existing: checked.existing,
        resumed: checked.resumed,
        heads: loaded.heads,
        transactions: checked.transactions(),
        contexts: checked.contexts.clone(),
        changes: Changes { changed: changes.changed || loaded.events > 0, ..changes },
    };
    let table = table(report.contexts.as_ref());
    if report.changes.dry_run && !output.is_json() {
        // Standard output has nothing but SQL, so that psql can take it.
        output.say(table);
        let script = Script { steps: report.changes.steps.clone() };
        if report.changes.changed {
            output.data(&script.to_sql(context.name))?;
        }
    } else {
        output.result(context.name, &report, &table)?;
    }
    for note in &report.changes.notes {
        output.say(format!("note: {note}"));
    }
    output.say(close(&report));
    Ok(Exit::Done)
}

fn close(report: &Report) -> String {
    let existing = match report.existing {
        0 => String::new(),
        existing if existing == report.resumed => {
            format!(", {existing} went in before an earlier run was interrupted")
        }
        existing => format!(", {existing} are there already"),
    };
    let new = report.events - report.existing;
    if report.changes.dry_run {
        return format!("Dry run: {} would go in{existing}; nothing was changed", events(new));
    }
    if report.events == 0 {
        return "Nothing to do: the file has no events".to_owned();
    }
    if new == 0 {
        return format!("Nothing to do: the store has all {} of the file", events(report.events));
    }
    let partitions = match write::made(&report.changes).as_str() {
        "no partition was needed" => String::new(),
        made => format!("; {made}"),
    };
    let transactions = match report.transactions {
        1 => String::new(),
        several => format!(" in {several} transactions"),
    };
    format!(
        "{} {} of {} imported{transactions}{existing}{partitions}",
        output::green("Done:"),
        events(report.imported),
        match &report.contexts {
            Some(contexts) => count(contexts.len(), "context"),
            None => "many contexts".to_owned(),
        }
    )
}

fn table(contexts: Option<&BTreeMap<String, u64>>) -> String {
    let Some(contexts) = contexts else { return String::new() };
    let rows = contexts.iter().map(|(name, events)| vec![name.clone(), events.to_string()]);
    output::table(&["context", "events"], rows.collect(), 1)
}

fn events(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "event")
}
