//! `pupctl schema index drop`

use clap::Args;

use super::{change, report};
use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::plan;

/// Remove an index from a table of the store and from all of its partitions
///
/// Keys are refused. On a partitioned table PostgreSQL drops all of its indexes at once, under
/// ACCESS EXCLUSIVE on the table and on every partition: short, but nobody reads or writes until
/// the locks are there. On a table without partitions, or on a single leaf, readers and writers go
/// on. It cannot be undone; pupctl schema index add builds it again.
///
/// Example:
///   pupctl schema index drop events_event_type_global_position_idx
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DropArgs {
    /// The index
    name: String,
}

pub(super) fn run(args: &DropArgs, context: &Context) -> anyhow::Result<Exit> {
    let question = "This drops the index. Go on?";
    let written = change(context, question, |catalog, _| plan::index::drop(catalog, &args.name))?;
    let done = format!("the index {} is gone", args.name);
    let nothing = format!("Nothing to do: no table of the store has an index {}", args.name);
    Ok(report(context, written, &done, &nothing)?)
}
