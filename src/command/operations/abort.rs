//! `pupctl operations abort`

use clap::Args;
use postgres::Client;
use serde::Serialize;

use crate::cli::confirm::confirm;
use crate::cli::exit::Exit;
use crate::cli::output::green;
use crate::cli::progress::ArchiveBar;
use crate::command::context::{Context, layout_of};
use crate::command::partitions::split;
use crate::command::projections::rebuild;
use crate::command::write;
use crate::db::Locked;
use crate::error::{Error, Result};
use crate::operation::archives::{self, Phase, Record};
use crate::operation::journal::{self, Operation};
use crate::operation::restore::{Destination, Request, Restorer};
use crate::operation::{self, abort};
use crate::render::Script;

/// Call off an operation that was interrupted, where that can still be done
///
/// A table that was leaving the store for an archive comes back; a table that was loaded from an
/// archive and not attached is dropped. Archives that are proven stay. Of a rebuild of a projection
/// nothing is left; one that runs ends. Of the split of a partition the copy is dropped.
#[derive(Debug, Args)]
pub struct AbortArgs {
    /// The number of an operation, the name of an archive, NAME:rebuild for a projection, or
    /// NAME:split for a partition
    #[arg(value_name = "WHAT")]
    what: String,
}

#[derive(Serialize)]
struct Report {
    /// Whether nothing was done because of `--dry-run`.
    dry_run: bool,
    /// What was done, or would be, in words.
    undone: Vec<String>,
}

/// What is to be called off.
struct Begun {
    /// The rows of the journal.
    operations: Vec<i64>,
    /// Whether rows were on their way back.
    restores: bool,
    records: Vec<Record>,
}

pub(super) fn run(args: &AbortArgs, context: &Context) -> anyhow::Result<Exit> {
    if let Some(name) = args.rebuilt(context)? {
        return rebuild::abort(&name, context);
    }
    if let Some(partition) = args.what.strip_suffix(":split") {
        return split::abort(partition, context);
    }
    if context.global.dry_run {
        let mut store = context.open()?;
        let begun = args.begun(&mut store.client, &store.schema)?;
        return dry_run(context, &begun);
    }
    let store = context.open_for_writing()?;
    let (mut locked, catalog) = write::lock(context, store)?;
    let layout = layout_of(&catalog)?.clone();
    let schema = locked.schema().to_owned();
    let begun = args.begun(locked.client(), &schema)?;
    if begun.records.is_empty() {
        operation::settle(&mut locked, &catalog, context.name, None)?;
        forget(&mut locked, &begun)?;
        locked.release()?;
        return report(context, Vec::new());
    }
    let names: Vec<_> = begun.records.iter().map(|record| record.name.as_str()).collect();
    let question = format!("Call off {}?", names.join(", "));
    confirm(&context.output, context.global.yes, &question)?;
    let limits = context.config.lock_limits(context.global.lock_budget)?;
    let request = Request {
        destination: Destination::Store { replace: false },
        behind_projections: true,
        batch: 10_000,
        limits,
    };
    let mut bar = ArchiveBar::new(&context.output);
    let mut steps = ArchiveBar::new(&context.output);
    let undone = operation::run_with(
        &mut locked,
        context.name,
        &Script::default(),
        limits,
        &context.interrupt,
        &mut steps,
        |locked, _| {
            let mut undone = Vec::new();
            for record in &begun.records {
                let mut restorer = Restorer {
                    locked: &mut *locked,
                    layout: &layout,
                    request: &request,
                    interrupt: &context.interrupt,
                    progress: &mut bar,
                };
                undone.push(if begun.restores {
                    abort::restore(&mut restorer, record)?
                } else {
                    abort::archive(&mut restorer, &catalog, record)?
                });
            }
            forget(locked, &begun)?;
            Ok(undone)
        },
    )?;
    drop(bar);
    locked.release()?;
    report(context, undone)
}

fn forget(locked: &mut Locked, begun: &Begun) -> Result<()> {
    let schema = locked.schema().to_owned();
    journal::forget(locked.client(), &schema, &begun.operations)
}

/// The rows of the journal that were about the table of a record, and about no other that is not
/// finished.
fn operations_of(
    client: &mut Client,
    schema: &str,
    record: &Record,
    records: &[Record],
) -> Result<Vec<i64>> {
    let is_left = |oid: &u32| {
        let is_it = |other: &&Record| other.table_oid == *oid && other.id != record.id;
        records.iter().filter(is_it).any(|other| other.phase.is_unfinished())
    };
    let rows = journal::unfinished(client, schema, "archive")?;
    let of_it = rows.into_iter().filter(|(_, state)| {
        let tables: Vec<u32> = serde_json::from_value(state["tables"].clone()).unwrap_or_default();
        tables.contains(&record.table_oid) && !tables.iter().any(is_left)
    });
    Ok(of_it.map(|(id, _)| id).collect())
}

fn dry_run(context: &Context, begun: &Begun) -> anyhow::Result<Exit> {
    let words = |record: &Record| {
        let Record { name, place, phase, .. } = record;
        if begun.restores {
            format!("a table that was loaded from {name} and not attached would be dropped")
        } else {
            format!("{name} is {phase}: {place} would come back into the store")
        }
    };
    let undone: Vec<_> = begun.records.iter().map(words).collect();
    let report = Report { dry_run: true, undone };
    context.output.result(context.name, &report, "")?;
    for line in &report.undone {
        context.output.say(format!("note: {line}"));
    }
    context.output.say("Dry run: nothing was changed");
    Ok(Exit::Done)
}

impl AbortArgs {
    /// The projection whose rebuild is meant. It does not hold the lock of the store.
    fn rebuilt(&self, context: &Context) -> anyhow::Result<Option<String>> {
        let Ok(id) = self.what.parse::<i64>() else {
            return Ok(rebuild::rebuilt(&self.what).map(str::to_owned));
        };
        let mut store = context.open()?;
        let operation = journal::find(&mut store.client, &store.schema, id)?;
        let operation = operation.filter(|operation| operation.command == rebuild::COMMAND);
        Ok(operation.as_ref().and_then(Operation::subject).map(str::to_owned))
    }

    fn begun(&self, client: &mut Client, schema: &str) -> Result<Begun> {
        let mut records = archives::all(client, schema)?;
        let Ok(id) = self.what.parse::<i64>() else {
            let Some(record) = records.iter().find(|record| record.name == self.what) else {
                return Err(Error::invalid(format!("there is no archive {}", self.what))
                    .hint("see what there is: pupctl archive list"));
            };
            refuse_proven(record)?;
            let operations = operations_of(client, schema, record, &records)?;
            return Ok(Begun { operations, restores: false, records: vec![record.clone()] });
        };
        let operation = journal::find(client, schema, id)?.ok_or_else(|| {
            Error::invalid(format!("the journal has no operation {id}"))
                .hint("see what is there: pupctl operations list")
        })?;
        let tables = operation.tables();
        let restores = operation.command == "restore";
        records.retain(|record| {
            tables.contains(&record.table_oid) && (restores || record.phase.is_unfinished())
        });
        if operation.command.starts_with("convert ") {
            return Err(Error::refused(format!("operation {id} is part of a conversion"))
                .hint("call that off: pupctl convert rollback"));
        }
        if operation.outcome == "done" {
            return Err(Error::refused(format!("operation {id} is done"))
                .hint("bring archived events back with pupctl restore"));
        }
        Ok(Begun { operations: vec![id], restores, records })
    }
}

fn refuse_proven(record: &Record) -> Result<()> {
    if record.phase.is_unfinished() {
        return Ok(());
    }
    let (name, phase) = (&record.name, record.phase);
    let error = Error::refused(format!("the archive {name} is {phase}: it cannot be called off"));
    Err(match phase {
        Phase::Published | Phase::Dropped => {
            error.hint(format!("bring it back: pupctl restore {name}"))
        }
        _ => error,
    })
}

fn report(context: &Context, undone: Vec<String>) -> anyhow::Result<Exit> {
    let report = Report { dry_run: false, undone };
    context.output.result(context.name, &report, "")?;
    for line in &report.undone {
        context.output.say(line);
    }
    if report.undone.is_empty() {
        context.output.say("Nothing to do: nothing was left half done");
    } else {
        context.output.say(format!("{} called off", green("Done:")));
    }
    Ok(Exit::Done)
}
