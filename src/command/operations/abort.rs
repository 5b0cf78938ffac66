//! `pupctl operations abort`

use clap::Args;
use serde::Serialize;

use crate::cli::confirm::confirm;
use crate::cli::exit::Exit;
use crate::cli::output::green;
use crate::cli::progress::ArchiveBar;
use crate::command::context::{Context, layout_of};
use crate::command::write;
use crate::db::Locked;
use crate::error::{Error, Result};
use crate::operation::archives::{self, Phase, Record};
use crate::operation::journal;
use crate::operation::restore::{Destination, Request, Restorer};
use crate::operation::{self, abort};
use crate::render::Script;

/// Call off an operation that was interrupted, where that can still be done
///
/// A table that was leaving the store for an archive comes back; a table that was loaded from an
/// archive and not attached is dropped. Archives that are proven stay.
#[derive(Debug, Args)]
pub struct AbortArgs {
    /// The number of an operation, or the name of an archive
    #[arg(value_name = "WHAT")]
    what: String,
}

#[derive(Serialize)]
struct Report {
    /// What was done, in words.
    undone: Vec<String>,
}

/// What is to be called off.
struct Begun {
    /// The row of the journal.
    operation: Option<i64>,
    /// Whether rows were on their way back.
    restores: bool,
    records: Vec<Record>,
}

pub(super) fn run(args: &AbortArgs, context: &Context) -> anyhow::Result<Exit> {
    if context.global.dry_run {
        return Err(Error::invalid("this command has no SQL to show before it has looked")
            .hint("see what there is to call off: pupctl operations show")
            .into());
    }
    let store = context.open_for_writing()?;
    let (mut locked, catalog) = write::lock(context, store)?;
    let layout = layout_of(&catalog)?.clone();
    let begun = args.begun(&mut locked)?;
    if begun.records.is_empty() {
        operation::settle(&mut locked)?;
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
    let ids: Vec<_> = begun.operation.into_iter().collect();
    journal::forget(locked.client(), &schema, &ids)
}

impl AbortArgs {
    fn begun(&self, locked: &mut Locked) -> Result<Begun> {
        let schema = locked.schema().to_owned();
        let mut records = archives::all(locked.client(), &schema)?;
        let Ok(id) = self.what.parse::<i64>() else {
            records.retain(|record| record.name == self.what);
            let Some(record) = records.first() else {
                return Err(Error::invalid(format!("there is no archive {}", self.what))
                    .hint("see what there is: pupctl archive list"));
            };
            refuse_proven(record)?;
            return Ok(Begun { operation: None, restores: false, records });
        };
        let operation = journal::find(locked.client(), &schema, id)?.ok_or_else(|| {
            Error::invalid(format!("the journal has no operation {id}"))
                .hint("see what is there: pupctl operations list")
        })?;
        let tables = operation.tables();
        let restores = operation.command == "restore";
        records.retain(|record| {
            tables.contains(&record.table_oid) && (restores || record.phase.is_unfinished())
        });
        if operation.outcome == "done" {
            return Err(Error::refused(format!("operation {id} is done"))
                .hint("bring archived events back with pupctl restore"));
        }
        Ok(Begun { operation: Some(id), restores, records })
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
    let report = Report { undone };
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
