//! `pupctl projections rebuild`

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use postgres::Client;
use serde::Serialize;
use serde_json::json;

use crate::cli::argument::duration;
use crate::cli::confirm::confirm;
use crate::cli::exit::Exit;
use crate::cli::output::{count, green};
use crate::cli::progress::FoldBar;
use crate::command::context::Context;
use crate::db::lock;
use crate::error::{Error, Result};
use crate::operation::{self, journal};
use crate::projection::control::change::Waiting;
use crate::projection::control::{Tables, checkpoint, holes};
use crate::projection::rebuild::{
    self, Diff, Ending, Outcome, Progress, Rebuild, Session, Situation, TableDiff,
};
use crate::projection::{Connect, SqlProjection};
use crate::render::quote::shell_word;
use crate::render::{RenderedStep, Script};

use super::files::FilesArgs;
use super::run::OnError;
use super::steer::{Opened, open, report as report_steered, steer};

pub(in crate::command) use crate::projection::rebuild::rebuilt;

/// As the journal has it.
pub(in crate::command) const COMMAND: &str = "projections rebuild";

/// Make the read model of a projection in SQL anew from all events, while the old one serves
///
/// The events are folded into tables aside, by as many workers as --workers says. Then one
/// transaction waits for the batches that run, folds what is left, puts the new tables in the place
/// of the old ones and moves the checkpoint. Readers see the old rows until it commits, and the new
/// ones from then on. Rights, owners, comments and publications of the old tables are carried over.
///
/// Nothing is lost when it is stopped or killed: the same command goes on. `operations abort
/// NAME:rebuild` calls it off. Workers that run the projection with an earlier file serve until the
/// swap, and stop then.
///
/// Examples:
///   pupctl projections rebuild order_totals --workers 4
///   pupctl projections rebuild order_totals --no-swap
///   pupctl operations abort order_totals:rebuild
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct RebuildArgs {
    /// The projection, as the line `-- name:` of its file says
    #[arg(value_name = "NAME")]
    name: String,

    #[command(flatten)]
    files: FilesArgs,

    /// How many workers fold events: a thread and a connection each
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,

    /// What to do with an event that cannot be handled
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = OnError::Stop)]
    on_error: OnError,

    /// Compare the new tables with the old ones before the swap
    #[arg(long)]
    diff: bool,

    /// Fold everything and stop before the swap; the same command without this goes on
    #[arg(long)]
    no_swap: bool,

    /// Throw away a rebuild that was begun, and begin anew
    #[arg(long)]
    restart: bool,

    /// Let the tables stay and exchange their rows, all of them in one transaction: where views or
    /// triggers of others hang on the tables
    #[arg(long)]
    in_place: bool,

    /// Even if events have left the store: the read model is made without them
    #[arg(long)]
    allow_missing_events: bool,

    /// How long to wait for batches that run, and for readers
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    patience: Duration,
}

#[derive(Serialize)]
struct Report<'a> {
    /// Whether nothing was written because of `--dry-run`.
    dry_run: bool,
    projection: &'a str,
    situation: &'a Situation,
    #[serde(flatten)]
    outcome: &'a Outcome,
    seconds: f64,
    /// The statements of the swap, with `--dry-run`.
    steps: Vec<RenderedStep>,
}

pub(super) fn run(args: &RebuildArgs, context: &Context) -> anyhow::Result<Exit> {
    let Opened { mut client, tables, .. } = open(context, true)?;
    let projection = args.projection(context, &mut client, &tables)?;
    let rebuild = args.wish(projection);
    if context.global.dry_run {
        let situation = rebuild.look(&mut client, &tables)?;
        return dry_run(args, context, &rebuild, &mut client, &tables, &situation);
    }
    let (name, schema) = (&args.name, tables.events.schema.clone());
    let lock_name = rebuild::lock_name(name);
    lock::take_named(&mut client, &schema, &lock_name, &format!("{name} is being rebuilt already"))
        .map_err(|error| {
            error.hint(format!("call it off: pupctl operations abort {}", shell_word(&lock_name)))
        })?;
    let situation = rebuild.look(&mut client, &tables)?;
    if let Some(question) = args.question(&situation) {
        confirm(&context.output, context.global.yes, &question)?;
    }
    if situation.resumes {
        let position = situation.position;
        context.output.say(format!("Going on with the rebuild, from position {position}"));
    }
    let begun = Instant::now();
    let state = json!({
        "request": args.words(),
        "subject": name,
        "lock": lock::named_key(&schema, &lock_name),
    });
    let outcome = operation::run_beside(&mut client, &schema, COMMAND, &state, |client, id| {
        args.work(context, &rebuild, client, &tables, &situation, id)
    });
    let outcome = outcome.map_err(|error| context.interrupt.explain(error))?;
    if outcome.swapped {
        forget(&mut client, &schema, name)?;
    }
    let report = Report {
        dry_run: false,
        projection: name,
        situation: &situation,
        outcome: &outcome,
        seconds: begun.elapsed().as_secs_f64(),
        steps: Vec::new(),
    };
    context.output.result(context.name, &report, "")?;
    tell(context, &report);
    Ok(Exit::Done)
}

/// Earlier runs that did not come to their end: this one did.
fn forget(client: &mut Client, schema: &str, name: &str) -> Result<()> {
    let rows = journal::unfinished(client, schema, COMMAND)?;
    let is_its = |state: &serde_json::Value| state["subject"].as_str() == Some(name);
    let ids: Vec<_> = rows.iter().filter(|(_, state)| is_its(state)).map(|(id, _)| *id).collect();
    journal::forget(client, schema, &ids)
}

fn tell(context: &Context, report: &Report<'_>) {
    let Report { projection: name, outcome, situation, .. } = report;
    for note in &outcome.notes {
        context.output.say(format!("note: {note}"));
    }
    let events = count(usize::try_from(outcome.events).unwrap_or(usize::MAX), "event");
    let position = outcome.position;
    let word = shell_word(name);
    if !outcome.swapped {
        context.output.say(format!(
            "{} {events} folded, the new tables of {name} are at position {position}; put them in \
             place: pupctl projections rebuild {word}; or call it off: pupctl operations abort {}",
            green("Done:"),
            shell_word(&rebuild::shadow_name(name)),
        ));
        return;
    }
    if situation.is_there {
        context.output.say(format!(
            "note: workers with an earlier file stop by themselves; start them with this one: \
             pupctl projections run {word}"
        ));
    }
    context.output.say(format!(
        "{} {name} is made anew of {events} and stands at position {position}",
        green("Done:")
    ));
}

fn dry_run(
    args: &RebuildArgs,
    context: &Context,
    rebuild: &Rebuild,
    client: &mut Client,
    tables: &Tables,
    situation: &Situation,
) -> anyhow::Result<Exit> {
    let change = rebuild.preview(client, tables, situation)?;
    let outcome = Outcome { notes: change.notes, ..Outcome::default() };
    let script = Script { steps: vec![change.step] };
    let report = Report {
        dry_run: true,
        projection: &args.name,
        situation,
        outcome: &outcome,
        seconds: 0.0,
        steps: script.steps.clone(),
    };
    if context.output.is_json() {
        context.output.json(context.name, &report)?;
    } else {
        context.output.data(&script.to_sql(context.name))?;
    }
    for line in holes::lines(&situation.missing) {
        context.output.say(format!("note: missing: {line}"));
    }
    for note in &outcome.notes {
        context.output.say(format!("note: {note}"));
    }
    context.output.say(format!(
        "note: events after position {} are folded first, into tables aside",
        situation.position
    ));
    context.output.say("Dry run: nothing was changed");
    Ok(Exit::Done)
}

/// Calls a rebuild off: nothing is left of it.
pub(in crate::command) fn abort(name: &str, context: &Context) -> anyhow::Result<Exit> {
    let Opened { mut client, tables, .. } = open(context, true)?;
    let schema = tables.events.schema.clone();
    let question = format!("Call off the rebuild of {name}? What was folded is lost.");
    let patience = Duration::from_secs(30);
    let steered = steer(context, &mut client, patience, Some(&question), &mut |transaction| {
        rebuild::plan_abort(transaction, &schema, name)
    })?;
    if !context.global.dry_run {
        for (id, state) in journal::unfinished(&mut client, &schema, COMMAND)? {
            let found = journal::find(&mut client, &schema, id)?;
            // One that runs notices, and says so itself.
            let is_over = found.is_none_or(|operation| operation.outcome != "running");
            if is_over && state["subject"].as_str() == Some(name) {
                journal::forget(&mut client, &schema, &[id])?;
            }
        }
    }
    let done = format!("the rebuild of {name} is called off");
    Ok(report_steered(context, &steered, &done, "no rebuild of it was begun")?)
}

/// Shows how far it is.
struct Bar<'a> {
    name: String,
    drawn: Option<FoldBar>,
    context: &'a Context,
    swaps: bool,
}

impl Progress for Bar<'_> {
    fn folded(&mut self, position: i64, goal: i64, events: u64) {
        let output = &self.context.output;
        let drawn = self.drawn.get_or_insert_with(|| FoldBar::new(output));
        drawn.at(&self.name, position, goal, events);
    }

    fn phase(&mut self, words: &str) {
        tracing::info!("{words}");
        self.drawn = None;
    }

    fn compared(&mut self, diff: &Diff) -> Result<()> {
        let output = &self.context.output;
        for line in words(diff) {
            output.say(line);
        }
        if diff.is_none() || !self.swaps {
            return Ok(());
        }
        let question = "Put the new tables in place though they differ?";
        confirm(output, self.context.global.yes, question)
    }
}

/// A comparison, for people.
fn words(diff: &Diff) -> Vec<String> {
    let mut lines = Vec::new();
    if !diff.level {
        lines.push(format!(
            "note: the old tables were at position {}, the new ones at {}: what came between is \
             told as a difference",
            diff.old_position, diff.new_position
        ));
    }
    for table in &diff.tables {
        let TableDiff { table: name, old_rows, new_rows, .. } = table;
        if !table.is_there {
            lines.push(format!("{name} is new, with {new_rows} rows"));
            continue;
        }
        lines.push(format!(
            "{name}: {old_rows} rows, {new_rows} new ones; {} only in the old, {} only in the new, \
             {} differ",
            table.only_old, table.only_new, table.differing
        ));
        let columns = table.columns.iter().map(|(column, rows)| format!("{column} in {rows} rows"));
        let columns: Vec<_> = columns.collect();
        lines.extend((!columns.is_empty()).then(|| format!("  different: {}", columns.join(", "))));
        for (which, columns) in [("old", &table.only_old_columns), ("new", &table.only_new_columns)]
        {
            let told = format!("  only in the {which}, not compared: {}", columns.join(", "));
            lines.extend((!columns.is_empty()).then_some(told));
        }
        let sample = table.sample.iter();
        lines.extend(
            sample.map(|row| format!("  {}: {}", row.kind.replace('_', " in the "), row.key)),
        );
    }
    lines
}

impl RebuildArgs {
    /// The projection of this name. One that is not written in SQL is told the way out.
    fn projection(
        &self,
        context: &Context,
        client: &mut Client,
        tables: &Tables,
    ) -> Result<SqlProjection> {
        let name = &self.name;
        let read = self.files.read(context, std::slice::from_ref(name));
        let error = match read {
            Ok(projections) => match projections.into_iter().next() {
                Some(projection) => return Ok(projection),
                None => Error::invalid(format!("no file has the name {name}")),
            },
            Err(error) => error,
        };
        let rows = checkpoint::read(client, &tables.checkpoints, true)?;
        let found = checkpoint::projections(rows);
        if checkpoint::find(&found, name).is_none() || rebuild::is_of_sql(client, tables, name)? {
            return Err(error);
        }
        Err(Error::refused(format!("{name} is not written in SQL: a program handles its events"))
            .detail(error.message())
            .hint(format!(
                "let it begin again, with its tables emptied: pupctl projections reset {} \
                 --truncate",
                shell_word(name)
            )))
    }

    fn wish(&self, projection: SqlProjection) -> Rebuild {
        Rebuild {
            projection,
            workers: usize::from(self.workers),
            on_error: self.on_error.into(),
            restart: self.restart,
            diff: self.diff,
            ending: match (self.no_swap, self.in_place) {
                (true, _) => Ending::Aside,
                (false, false) => Ending::Swap,
                (false, true) => Ending::InPlace,
            },
            allow_missing_events: self.allow_missing_events,
        }
    }

    /// What is asked before anything is done.
    fn question(&self, situation: &Situation) -> Option<String> {
        let mut told = Vec::new();
        if situation.is_there && !self.no_swap {
            let tables: Vec<_> = situation.tables.iter().map(ToString::to_string).collect();
            told.push(format!("new rows take the place of those of {}", tables.join(", ")));
        }
        told.extend(holes::told(&situation.missing, 0));
        (!told.is_empty()).then(|| format!("{}. Go on?", told.join("; ")))
    }

    /// What `operations resume` gives once more.
    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = COMMAND.split(' ').map(str::to_owned).collect();
        words.push(self.name.clone());
        words.extend(self.files.words());
        words.extend(["--workers".to_owned(), self.workers.to_string()]);
        let policy = match self.on_error {
            OnError::Stop => "stop",
            OnError::Skip => "skip",
            OnError::Park => "park",
        };
        words.extend(["--on-error".to_owned(), policy.to_owned()]);
        let flags = [
            (self.diff, "--diff"),
            (self.no_swap, "--no-swap"),
            (self.in_place, "--in-place"),
            (self.allow_missing_events, "--allow-missing-events"),
        ];
        words
            .extend(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| (*word).to_owned()));
        words
    }

    fn work(
        &self,
        context: &Context,
        rebuild: &Rebuild,
        client: &mut Client,
        tables: &Tables,
        situation: &Situation,
        operation: i64,
    ) -> Result<Outcome> {
        let connector = context.connector().map_err(crate::command::failure)?;
        let connect: Arc<dyn Connect> = Arc::new(connector);
        let mut look = || {
            let session = context.second_session();
            session
                .inspect_err(|error| tracing::warn!("nobody tells who is waited for: {error:#}"))
                .ok()
        };
        let output = context.output.clone();
        let waiting = Waiting {
            patience: self.patience,
            interrupt: &context.interrupt,
            look: &mut look,
            tell: Arc::new(move |words: &str| output.say(words)),
        };
        let (name, swaps) = (self.name.clone(), !self.no_swap);
        let mut bar = Bar { name, drawn: None, context, swaps };
        let mut session =
            Session { client, connect: &connect, operation, waiting, progress: &mut bar };
        rebuild.run(&mut session, tables, situation)
    }
}
