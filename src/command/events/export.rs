//! `pupctl events export`

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::cli::argument::value;
use crate::cli::exit::Exit;
use crate::cli::output::{bytes, count};
use crate::cli::progress::Meter;
use crate::command::context::{Context, layout_of, warn_of_differences};
use crate::error::{Error, Result};
use crate::event::export::selection::{Selection, Timestamp};
use crate::event::export::{Export, Exported, Read, Settings};
use crate::layout::month::Month;

use super::sink::{Compression, Destination};

/// Write the events of the store to a file or to standard output
///
/// One event a line, as a JSON object, in the order of global_position; all of it is one snapshot
/// of the store. A file appears under its name when it is complete; a name that ends in .gz or
/// .zst is compressed. Only reads: a standby and a role that may only SELECT will do.
///
/// Examples:
///   pupctl events export events.ndjson.zst
///   pupctl events export billing.ndjson --context Billing --month 2026-11
///   pupctl events export new.ndjson --after-position 1200000
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ExportArgs {
    /// The file; - is standard output
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,

    /// Only events of these bounded contexts
    #[arg(long = "context", value_name = "NAME", value_delimiter = ',')]
    contexts: Vec<String>,

    /// Only events that were created in this month, in UTC
    #[arg(long, value_name = "YYYY-MM", value_parser = value::<Month>,
        conflicts_with_all = ["from", "to"])]
    month: Option<Month>,

    /// Only events that were created at this time or later: 2026-11-01T09:30:00Z, 2026-11-01 or
    /// 2026-11
    #[arg(long, value_name = "TIME", value_parser = value::<Timestamp>)]
    from: Option<Timestamp>,

    /// Only events that were created before this time
    #[arg(long, value_name = "TIME", value_parser = value::<Timestamp>)]
    to: Option<Timestamp>,

    /// Only events whose global_position lies above this one
    #[arg(long, value_name = "POSITION", allow_negative_numbers = true)]
    after_position: Option<i64>,

    /// Only events whose global_position does not lie above this one
    #[arg(long, value_name = "POSITION", allow_negative_numbers = true)]
    up_to_position: Option<i64>,

    /// Also write columns that were added to the table
    #[arg(long)]
    extra_columns: bool,

    /// How to compress [default: as the ending of FILE says]
    #[arg(long, value_enum, value_name = "METHOD")]
    compress: Option<Compression>,

    /// Replace FILE if it exists
    #[arg(long)]
    overwrite: bool,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    file: String,
    events: u64,
    bytes: Option<u64>,
    first_position: Option<i64>,
    last_position: Option<i64>,
    left_out_columns: Vec<String>,
}

#[derive(Serialize)]
struct Preview {
    dry_run: bool,
    file: String,
    reads: Vec<Read>,
    left_out_columns: Vec<String>,
}

pub(super) fn run(args: &ExportArgs, context: &Context) -> anyhow::Result<Exit> {
    let selection = args.selection();
    selection.validate()?;
    let destination = Destination::of(&args.file, args.overwrite)?;
    let to_stdout = matches!(destination, Destination::Stdout);
    if to_stdout && context.output.is_json() && !context.global.dry_run {
        return Err(Error::invalid(
            "standard output carries the events, and cannot carry a report",
        )
        .hint("name a file: pupctl events export events.ndjson --output json")
        .into());
    }
    let mut store = context.open()?;
    let settings = args.settings(context)?;
    let (schema, tables) = (&store.schema, context.config.tables());
    let export = Export::prepare(&mut store.client, schema, &tables, &selection, &settings)?;
    warn_of_differences(context, layout_of(export.catalog())?, export.catalog());
    warn_of_gaps(context, &export);
    if context.global.dry_run {
        args.preview(context, &export)?;
        return Ok(Exit::Done);
    }
    let left_out_columns = export.left_out_columns().to_vec();
    match args.write(context, export, destination) {
        Ok((exported, size)) => args.report(context, &exported, size, left_out_columns)?,
        // Whoever reads has seen enough (`pupctl … | head`).
        Err(error) if to_stdout && is_broken_pipe(&error) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Done)
}

impl ExportArgs {
    fn selection(&self) -> Selection {
        let month = |edge: fn(Month) -> _| self.month.map(|month| Timestamp(edge(month)));
        Selection {
            contexts: self.contexts.clone(),
            from: self.from.or(month(Month::start)),
            to: self.to.or(month(Month::end)),
            after_position: self.after_position,
            up_to_position: self.up_to_position,
        }
    }

    fn settings(&self, context: &Context) -> Result<Settings> {
        let limits = context.config.lock_limits(context.global.lock_budget)?;
        Ok(Settings { extra_columns: self.extra_columns, lock_wait: limits.budget })
    }

    fn name(&self) -> String {
        self.file.display().to_string()
    }

    fn preview(&self, context: &Context, export: &Export) -> Result<()> {
        let preview = Preview {
            dry_run: true,
            file: self.name(),
            reads: export.reads().collect(),
            left_out_columns: export.left_out_columns().to_vec(),
        };
        context.output.result(context.name, &preview, &export.script())
    }

    /// The file stays incomplete, and so goes away, when anything fails.
    fn write(
        &self,
        context: &Context,
        export: Export,
        destination: Destination,
    ) -> Result<(Exported, Option<u64>)> {
        let compression = self.compress.unwrap_or_else(|| Compression::of(&self.file));
        let mut sink = destination.open(compression)?;
        let mut meter = Meter::new(&context.output, export.estimate());
        let exported = export.run(&context.interrupt, &mut sink, &mut meter)?;
        Ok((exported, sink.finish()?))
    }

    fn report(
        &self,
        context: &Context,
        exported: &Exported,
        size: Option<u64>,
        left_out_columns: Vec<String>,
    ) -> Result<()> {
        let Exported { events, first_position, last_position, .. } = *exported;
        let mut text = count(usize::try_from(events).unwrap_or(usize::MAX), "event");
        if let (Some(first), Some(last)) = (first_position, last_position) {
            text = format!("{text}, positions {first} to {last}");
        }
        let file = self.name();
        if file == "-" {
            context.output.say(format!("Exported {text}"));
            return Ok(());
        }
        let size_text = size.map_or_else(String::new, |size| format!(" ({})", bytes(size)));
        let text = format!("Exported {text}, to {file}{size_text}\n");
        let report = Report {
            dry_run: false,
            file,
            events,
            bytes: size,
            first_position,
            last_position,
            left_out_columns,
        };
        context.output.result(context.name, &report, &text)
    }
}

/// Tells what a reader of the file would miss.
fn warn_of_gaps(context: &Context, export: &Export) {
    let columns = export.left_out_columns();
    if !columns.is_empty() {
        let names = columns.join(", ");
        context.output.warn(format!("left out: {names}; --extra-columns writes further columns"));
    }
    for partition in export.detaching() {
        context.output.warn(format!("{partition} is being detached: its events are left out"));
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
